{{/* How texts among the values have to look. The schema says types, keys and choices; what it could say of a text is a
     regular expression, which helps nobody. Here each form has words, and all that is wrong is told at once. */}}

{{/* The forms as a JSON object: name to pattern and words. */}}
{{- define "chart.forms" -}}
{{- $label := "[a-z0-9]([-a-z0-9]*[a-z0-9])?" -}}
{{- $name := printf "%s([.]%s)*" $label $label -}}
{{- $host := printf "(%s|\\[[a-f0-9:]+\\])(:[0-9]+)?" $name -}}
{{- $component := "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*" -}}
{{- $registry := printf "((%s([.]%s)+|localhost|\\[[a-f0-9:]+\\])(:[0-9]+)?|%s:[0-9]+)" $label $label $label -}}
{{- $podLabel := "[A-Za-z0-9][-A-Za-z0-9_.]{0,62}" -}}
{{- $forms := dict
  "name" (list $name "the name of an object: lower-case letters, digits, - and .")
  "label" (list $label "a name of lower-case letters, digits and -, with a letter or digit at both ends")
  "namespace or *" (list (printf "%s|[*]" $label) "the name of a namespace, or \"*\" for all of them; there are no other wildcards")
  "slug" (list "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*" "an application's slug as in the vendor portal: lower-case letters, digits and -")
  "host" (list $host "a host, with a port if need be, without https:// and path: images.example.com")
  "mirror" (list (printf "%s(/%s)*" $host $component) "a registry without https://, with a path if need be: harbor.example.com/mirror")
  "registry host" (list $registry "a registry's host, with a dot or a port in it, without https:// and path: images.example.com")
  "pattern" (list (printf "([*][.]%s(:[0-9]+)?|%s)(/%s)*/?" $name $registry $component) "host, host/path-prefix or *.host, in lower case")
  "glob" (list "[a-z0-9*?]([-a-z0-9*?]{0,61}[a-z0-9*?])?" "the name of a namespace, * and ? for any")
  "pod label" (list (printf "([a-z0-9][a-z0-9.-]*/)?%s(=%s)?" $podLabel $podLabel) "a label, key or key=value")
  "certificate name" (list (printf "%s|[0-9a-fA-F.]*:[0-9a-fA-F:.]*" $name) "a DNS name or an IP address; a certificate of ours has no wildcards")
  "key" (list "[-._a-zA-Z0-9]+" "a key of a ConfigMap or Secret: letters, digits, -, _ and .")
  "network" (list "[0-9a-fA-F.:]+(/[0-9]+)?" "a network or an address: 10.0.0.0/8")
  "digest" (list "sha256:[a-f0-9]{64}" "sha256: and 64 hexadecimal digits, as `crane digest IMAGE` prints it")
  "proxy" (list "http://[^/@?#]+:[0-9]+/?" "http://host:port, without user and password")
  "path" (list "/.*" "a path from the root: /etc/ssl/ca.pem")
  "public key" (list "\\s*-----BEGIN (RSA )?PUBLIC KEY-----(?s:.*)" "an RSA public key in PEM, from -----BEGIN PUBLIC KEY----- on")
  "registry" (list "[a-z0-9*.-]+(/[a-z0-9._/-]+)?" "a registry, host or host/path-prefix in lower case, * for one label of the host")
-}}
{{- toJson $forms -}}
{{- end -}}

{{/* Every text that has to have a form, as a JSON list of key, form and value. */}}
{{- define "chart.formedTexts" -}}
{{- $values := toJson .Values | fromJson -}}
{{- $texts := list -}}
{{- $fixed := list
  (list "nameOverride" "label") (list "fullnameOverride" "label") (list "image.registry" "host") (list "image.digest" "digest")
  (list "global.imageRegistry" "mirror") (list "test.namespace" "label")
  (list "injectedLicense.appSlug" "slug") (list "injectedLicense.proxyHost" "registry host")
  (list "detectionCa.configMap" "name") (list "detectionCa.secret" "name") (list "detectionCa.key" "key")
  (list "clientCa.configMap" "name") (list "clientCa.secret" "name") (list "clientCa.key" "key")
  (list "settings.secret.name" "name") (list "settings.routesConfigMap" "name") (list "settings.controller.leaseName" "name")
  (list "settings.certificates.caSecret" "name") (list "settings.certificates.servingSecret" "name")
  (list "settings.detection.httpProxy" "proxy") (list "settings.detection.caFile" "path") (list "settings.webhook.clientCaFile" "path")
-}}
{{- range $fixed -}}
{{- $texts = append $texts (append . (include "chart.valueAt" (list $values (index . 0)))) -}}
{{- end -}}
{{- $lists := list
  (list "settings.rewrite.include" "pattern") (list "settings.rewrite.exclude" "pattern") (list "settings.rewrite.excludedLabels" "pod label")
  (list "settings.sources.namespaces" "label") (list "settings.secret.excludedNamespaces" "glob")
  (list "settings.certificates.extraNames" "certificate name")
  (list "injectedLicense.namespaces" "namespace or *") (list "settings.proxy.allowedHosts" "host")
  (list "settings.detection.allowedNetworks" "network") (list "settings.detection.internalNetworks" "network")
  (list "networkPolicy.apiServer.cidrs" "network") (list "networkPolicy.webhookCidrs" "network")
  (list "networkPolicy.registries.proxyCidrs" "network")
-}}
{{- range $lists -}}
{{- $key := index . 0 -}}
{{- $form := index . 1 -}}
{{- range $number, $text := include "chart.valueAt" (list $values $key) | default "[]" | fromJsonArray -}}
{{- $texts = append $texts (list (printf "%s[%d]" $key $number) $form $text) -}}
{{- end -}}
{{- end -}}
{{- range $number, $source := .Values.settings.sources.secrets -}}
{{- range $key, $form := dict "namespace" "label" "name" "name" "key" "key" "appSlug" "slug" "proxyHost" "registry host" -}}
{{- $texts = append $texts (list (printf "settings.sources.secrets[%d].%s" $number $key) $form (get $source $key)) -}}
{{- end -}}
{{- range $index, $text := $source.namespaces -}}
{{- $texts = append $texts (list (printf "settings.sources.secrets[%d].namespaces[%d]" $number $index) "namespace or *" $text) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "hosts" "registryHosts" -}}
{{- range $slug, $host := get $.Values.settings.proxy $key -}}
{{- $texts = append $texts (list (printf "settings.proxy.%s.%s" $key $slug) "registry host" $host) -}}
{{- end -}}
{{- end -}}
{{- range $id, $key := (.Values.settings.license | default dict).trustedKeys -}}
{{- $texts = append $texts (list (printf "settings.license.trustedKeys.%s" $id) "public key" $key) -}}
{{- end -}}
{{- range $pattern, $_ := (.Values.settings.detection | default dict).assume -}}
{{- $texts = append $texts (list "a key of settings.detection.assume" "registry" $pattern) -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}

{{/* What stands at a path, a list as JSON and nothing where there is nothing; (list <values> "a.b.c"). */}}
{{- define "chart.valueAt" -}}
{{- $found := index . 0 -}}
{{- range splitList "." (index . 1) -}}
{{- $found = ternary (get ($found | default dict) .) "" (kindIs "map" $found) -}}
{{- end -}}
{{- ternary (toJson $found) (toString ($found | default "")) (kindIs "slice" $found) -}}
{{- end -}}

{{/* Names that must not be empty: nothing would be called so. */}}
{{- define "chart.neededNames" -}}
{{- toJson (list "settings.secret.name" "settings.routesConfigMap" "settings.controller.leaseName" "settings.certificates.caSecret" "settings.certificates.servingSecret" "detectionCa.key") -}}
{{- end -}}

{{/* Refuses texts of another form, all of them in one message. */}}
{{- define "chart.guardForms" -}}
{{- $forms := include "chart.forms" . | fromJson -}}
{{- $needed := include "chart.neededNames" . | fromJsonArray -}}
{{- $problems := list -}}
{{- range include "chart.formedTexts" . | fromJsonArray -}}
{{- $key := index . 0 -}}
{{- $form := index $forms (index . 1) -}}
{{- $text := index . 2 | default "" -}}
{{- if or (has $key $needed) (hasSuffix "]" $key) $text -}}
{{- if not (regexMatch (printf "^(%s)$" (index $form 0)) $text) -}}
{{- $problems = append $problems (printf "%s is %s: write %s" $key (quote $text) (index $form 1)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $problems -}}
{{- fail (printf "values that cannot be used:\n  - %s" (join "\n  - " .)) -}}
{{- end -}}
{{- end -}}
