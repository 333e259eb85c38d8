// Webhook-controller-runtime does what our webhook does to an ordinary Pod, the way most webhooks in Go are written:
// controller-runtime's server and decoder, the Kubernetes API types, and its helper for the patch. It is a comparison of
// the benchmark, no part of the product.
//
// It reads tls.crt, tls.key and rules.json in the given folder, and prints its port once it listens.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const annotation = "proxy.kots.io/original-images"

// Rules say which namespaces are covered, and what becomes of their images.
type rules struct {
	Prefixes map[string]string `json:"prefixes"`
	Proxy    string            `json:"proxy"`
	Secret   string            `json:"secret"`
}

type handler struct {
	decoder admission.Decoder
	rules   rules
}

func (h *handler) Handle(_ context.Context, request admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := h.decoder.Decode(request, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	prefix, covered := h.rules.Prefixes[request.Namespace]
	if !covered {
		return admission.Allowed("")
	}
	originals := map[string]string{}
	h.rewrite("containers", pod.Spec.Containers, prefix, originals)
	h.rewrite("initContainers", pod.Spec.InitContainers, prefix, originals)
	if len(originals) == 0 {
		return admission.Allowed("")
	}
	if err := h.mark(pod, originals); err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, changed)
}

func (h *handler) rewrite(list string, containers []corev1.Container, prefix string, originals map[string]string) {
	for index := range containers {
		item := &containers[index]
		if h.isWanted(item.Image) {
			originals[list+"/"+item.Name] = item.Image
			item.Image = prefix + item.Image
		}
	}
}

// IsWanted leaves alone what is proxied already and what the proxy's path cannot carry.
func (h *handler) isWanted(image string) bool {
	host, _, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(host, ".:") {
		return image != ""
	}
	return host != h.rules.Proxy && !strings.Contains(host, ":") && strings.ToLower(host) == host
}

// Mark adds the pull secret and the annotation.
func (h *handler) mark(pod *corev1.Pod, originals map[string]string) error {
	value, err := json.Marshal(originals)
	if err != nil {
		return err
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[annotation] = string(value)
	for _, secret := range pod.Spec.ImagePullSecrets {
		if secret.Name == h.rules.Secret {
			return nil
		}
	}
	pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: h.rules.Secret})
	return nil
}

func main() {
	folder := flag.String("folder", ".", "where tls.crt, tls.key and rules.json are")
	flag.Parse()
	ctrllog.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	err := clientgoscheme.AddToScheme(scheme)
	if err != nil {
		log.Fatal(err)
	}
	serving := &handler{decoder: admission.NewDecoder(scheme)}
	text, err := os.ReadFile(filepath.Join(*folder, "rules.json"))
	if err == nil {
		err = json.Unmarshal(text, &serving.rules)
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(serve(*folder, serving))
}

func serve(folder string, serving admission.Handler) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	server := webhook.NewServer(webhook.Options{
		Host: "127.0.0.1", Port: port, CertDir: folder,
		TLSOpts: []func(*tls.Config){func(config *tls.Config) { config.MinVersion = tls.VersionTLS13 }},
	})
	server.Register("/mutate", &webhook.Admission{Handler: serving})
	go func() {
		started := server.StartedChecker()
		for started(nil) != nil {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println(port)
	}()
	return server.Start(context.Background())
}

// FreePort returns a port that nobody listens on: controller-runtime's server does not tell which one it was given.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
