// Webhook-lean does what our webhook does to an ordinary Pod, with as little as Go needs for it: net/http, a decoder that
// skips what is not asked for, and a patch written by hand. It is the bar of the benchmark, no part of the product.
//
// It reads tls.crt, tls.key and rules.json in the given folder, and prints its port once it listens.
package main

import (
	"crypto/tls"
	stdjson "encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	fastjson "github.com/goccy/go-json"
)

const annotation = "proxy.kots.io/original-images"

// What a patch says for a key of annotations: a slash in a key is ~1 (RFC 6901).
const annotationPath = "/metadata/annotations/proxy.kots.io~1original-images"

type codec struct {
	unmarshal func([]byte, any) error
	marshal   func(any) ([]byte, error)
}

var codecs = map[string]codec{
	"encoding/json": {stdjson.Unmarshal, stdjson.Marshal},
	"go-json": {
		func(data []byte, value any) error { return fastjson.Unmarshal(data, value) },
		func(value any) ([]byte, error) { return fastjson.Marshal(value) },
	},
}

// Rules say which namespaces are covered, and what becomes of their images.
type rules struct {
	Prefixes map[string]string `json:"prefixes"`
	Proxy    string            `json:"proxy"`
	Secret   string            `json:"secret"`
}

type named struct {
	Name string `json:"name"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

type review struct {
	Request struct {
		UID       string `json:"uid"`
		Namespace string `json:"namespace"`
		Operation string `json:"operation"`
		Object    struct {
			Metadata struct {
				Annotations map[string]string `json:"annotations"`
			} `json:"metadata"`
			Spec struct {
				Containers       []container `json:"containers"`
				InitContainers   []container `json:"initContainers"`
				ImagePullSecrets []named     `json:"imagePullSecrets"`
			} `json:"spec"`
		} `json:"object"`
	} `json:"request"`
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	Patch     []byte `json:"patch,omitempty"`
	PatchType string `json:"patchType,omitempty"`
}

type answer struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Response   response `json:"response"`
}

type handler struct {
	codec codec
	rules rules
}

func (h *handler) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	body, err := readAll(request)
	if err != nil {
		http.Error(writer, "cannot read the body", http.StatusBadRequest)
		return
	}
	var received review
	if err := h.codec.unmarshal(body, &received); err != nil || received.Request.UID == "" {
		http.Error(writer, "not an AdmissionReview", http.StatusBadRequest)
		return
	}
	encoded, err := h.answer(&received)
	if err != nil {
		http.Error(writer, "cannot write the answer", http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	_, _ = writer.Write(encoded)
}

func readAll(request *http.Request) ([]byte, error) {
	if request.ContentLength <= 0 || request.ContentLength > 8<<20 {
		return nil, errors.New("no length, or too long")
	}
	body := make([]byte, request.ContentLength)
	_, err := io.ReadFull(request.Body, body)
	return body, err
}

func (h *handler) answer(received *review) ([]byte, error) {
	told := answer{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}
	told.Response = response{UID: received.Request.UID, Allowed: true}
	if patch := h.patch(received); len(patch) > 0 {
		encoded, err := h.codec.marshal(patch)
		if err != nil {
			return nil, err
		}
		told.Response.Patch, told.Response.PatchType = encoded, "JSONPatch"
	}
	return h.codec.marshal(told)
}

func (h *handler) patch(received *review) []operation {
	prefix, covered := h.rules.Prefixes[received.Request.Namespace]
	if !covered || received.Request.Operation != "CREATE" {
		return nil
	}
	spec := &received.Request.Object.Spec
	originals := make(map[string]string, len(spec.Containers)+len(spec.InitContainers))
	patch := make([]operation, 0, len(spec.Containers)+len(spec.InitContainers)+2)
	patch = h.patchImages(patch, originals, "containers", spec.Containers, prefix)
	patch = h.patchImages(patch, originals, "initContainers", spec.InitContainers, prefix)
	if len(originals) == 0 {
		return nil
	}
	patch = h.patchSecret(patch, spec.ImagePullSecrets)
	return h.annotate(patch, received.Request.Object.Metadata.Annotations, originals)
}

func (h *handler) patchImages(
	patch []operation, originals map[string]string, list string, containers []container, prefix string,
) []operation {
	for index := range containers {
		item := &containers[index]
		if !h.isWanted(item.Image) {
			continue
		}
		originals[list+"/"+item.Name] = item.Image
		path := "/spec/" + list + "/" + strconv.Itoa(index) + "/image"
		patch = append(patch, operation{"replace", path, prefix + item.Image})
	}
	return patch
}

// IsWanted leaves alone what is proxied already and what the proxy's path cannot carry.
func (h *handler) isWanted(image string) bool {
	host, _, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(host, ".:") {
		return image != ""
	}
	return host != h.rules.Proxy && !strings.Contains(host, ":") && strings.ToLower(host) == host
}

func (h *handler) patchSecret(patch []operation, secrets []named) []operation {
	for _, secret := range secrets {
		if secret.Name == h.rules.Secret {
			return patch
		}
	}
	if secrets == nil {
		return append(patch, operation{"add", "/spec/imagePullSecrets", []named{{h.rules.Secret}}})
	}
	return append(patch, operation{"add", "/spec/imagePullSecrets/-", named{h.rules.Secret}})
}

func (h *handler) annotate(patch []operation, present, originals map[string]string) []operation {
	value, err := h.codec.marshal(originals)
	if err != nil {
		return patch
	}
	if present == nil {
		return append(patch, operation{"add", "/metadata/annotations", map[string]string{annotation: string(value)}})
	}
	return append(patch, operation{"add", annotationPath, string(value)})
}

func main() {
	folder := flag.String("folder", ".", "where tls.crt, tls.key and rules.json are")
	name := flag.String("json", "encoding/json", "the JSON library: encoding/json or go-json")
	flag.Parse()
	chosen, known := codecs[*name]
	if !known {
		log.Fatalf("no JSON library %q", *name)
	}
	serving := &handler{codec: chosen}
	text, err := os.ReadFile(filepath.Join(*folder, "rules.json"))
	if err == nil {
		err = stdjson.Unmarshal(text, &serving.rules)
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(serve(*folder, serving))
}

func serve(folder string, serving http.Handler) error {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/mutate", serving)
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
	}}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	return server.ServeTLS(listener, "", "")
}
