{{/* How texts among the values have to look. The schema says types, keys and choices; what it could say of a text is a
     regular expression, which helps nobody. Here each form has words, and all that is wrong is told at once. */}}

{{/* The forms as a JSON object: name to pattern and words. */}}
{{- define "chart.forms" -}}
{{- $label := "[a-z0-9]([-a-z0-9]*[a-z0-9])?" -}}
{{- $name := printf "%s([.]%s)*" $label $label -}}
{{- $host := printf "(%s|\\[[a-f0-9:]+\\])(:[0-9]+)?" $name -}}
{{- $component := "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*" -}}
{{- $registry := printf "((%s([.]%s)+|localhost|\\[[a-f0-9]*:[a-f0-9:]*\\])(:[0-9]+)?|%s:[0-9]+)" $label $label $label -}}
{{- $anyLabel := printf "(%s|[*])" $label -}}
{{- $port := "([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])" -}}
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
  "asked network" (list "[0-9a-fA-F.:]+(/[0-9]{1,3})?" "a network or an address: 10.0.0.0/8")
  "duration" (list "([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?" "hours, minutes and seconds, for example 8760h, 1h30m or 20s")
  "digest" (list "sha256:[a-f0-9]{64}" "sha256: and 64 hexadecimal digits, as `crane digest IMAGE` prints it")
  "proxy" (list (printf "http://([-A-Za-z0-9_.]+|\\[[0-9a-fA-F:.]+\\]):%s/?" $port) "http://host:port, without user and password")
  "path" (list "/.*" "a path from the root: /etc/ssl/ca.pem")
  "public key" (list "\\s*-----BEGIN (RSA )?PUBLIC KEY-----\\s[A-Za-z0-9+/=\\s]+-----END (RSA )?PUBLIC KEY-----(?s:.*)" "an RSA public key in PEM, from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----")
  "registry" (list (printf "(%s([.]%s)+|localhost)(/%s)*/*" $anyLabel $anyLabel $component) "a registry, host or host/path-prefix in lower case, * for one label of the host")
-}}
{{- toJson $forms -}}
{{- end -}}

{{/* Every text that has to have a form, as a JSON list of key, form, value and whether it may be empty. */}}
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
  (list "settings.certificates.caLifetime" "duration") (list "settings.certificates.leafLifetime" "duration")
  (list "settings.certificates.propagationDelay" "duration")
  (list "settings.detection.httpProxy" "proxy") (list "settings.detection.caFile" "path") (list "settings.webhook.clientCaFile" "path")
-}}
{{- $needed := include "chart.neededNames" . | fromJsonArray -}}
{{- range $fixed -}}
{{- $texts = append $texts (list (index . 0) (index . 1) (include "chart.valueAt" (list $values (index . 0))) (not (has (index . 0) $needed))) -}}
{{- end -}}
{{- $lists := list
  (list "settings.rewrite.include" "pattern") (list "settings.rewrite.exclude" "pattern") (list "settings.rewrite.excludedLabels" "pod label")
  (list "settings.sources.namespaces" "label") (list "settings.secret.excludedNamespaces" "glob")
  (list "settings.certificates.extraNames" "certificate name")
  (list "injectedLicense.namespaces" "namespace or *") (list "settings.proxy.allowedHosts" "host")
  (list "settings.detection.allowedNetworks" "asked network") (list "settings.detection.internalNetworks" "asked network")
  (list "networkPolicy.apiServer.cidrs" "network") (list "networkPolicy.webhookCidrs" "network")
  (list "networkPolicy.registries.proxyCidrs" "network")
-}}
{{- range $lists -}}
{{- $key := index . 0 -}}
{{- $form := index . 1 -}}
{{- range $number, $text := include "chart.valueAt" (list $values $key) | default "[]" | fromJsonArray -}}
{{- $texts = append $texts (list (printf "%s[%d]" $key $number) $form $text false) -}}
{{- end -}}
{{- end -}}
{{- range $number, $source := .Values.settings.sources.secrets -}}
{{- range $key, $form := dict "namespace" "label" "name" "name" "key" "key" "appSlug" "slug" "proxyHost" "registry host" -}}
{{- $texts = append $texts (list (printf "settings.sources.secrets[%d].%s" $number $key) $form (get $source $key) (has $key (list "appSlug" "proxyHost"))) -}}
{{- end -}}
{{- range $index, $text := $source.namespaces -}}
{{- $texts = append $texts (list (printf "settings.sources.secrets[%d].namespaces[%d]" $number $index) "namespace or *" $text false) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "hosts" "registryHosts" -}}
{{- range $slug, $host := get $.Values.settings.proxy $key -}}
{{- $texts = append $texts (list (printf "settings.proxy.%s.%s" $key $slug) "registry host" $host false) -}}
{{- end -}}
{{- end -}}
{{- range $id, $key := (.Values.settings.license | default dict).trustedKeys -}}
{{- $texts = append $texts (list (printf "settings.license.trustedKeys.%s" $id) "public key" $key false) -}}
{{- end -}}
{{- range $pattern, $_ := (.Values.settings.detection | default dict).assume -}}
{{- $texts = append $texts (list "a key of settings.detection.assume" "registry" $pattern false) -}}
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

{{/* Refuses texts of another form and settings that the program would refuse, all of them in one message. */}}
{{- define "chart.guardForms" -}}
{{- $forms := include "chart.forms" . | fromJson -}}
{{- $problems := list -}}
{{- range $entry := include "chart.formedTexts" . | fromJsonArray -}}
{{- $key := index $entry 0 -}}
{{- $form := index $entry 1 -}}
{{- $text := index $entry 2 | default "" -}}
{{- $words := index $forms $form 1 -}}
{{- /* A proxy's address may hold a password. */ -}}
{{- $shown := ternary "no proxy" (quote $text) (eq $form "proxy") -}}
{{- if or $text (not (index $entry 3)) -}}
{{- if not (regexMatch (printf "^(%s)$" (index $forms $form 0)) $text) -}}
{{- $problems = append $problems (printf "%s is %s: write %s" $key $shown $words) -}}
{{- else -}}
{{- with include "chart.oddAddress" (list $form $text) -}}
{{- $problems = append $problems (printf "%s is %s, %s: write %s" $key $shown . $words) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with concat $problems (include "chart.settingProblems" . | fromJsonArray) -}}
{{- fail (printf "values that cannot be used:\n  - %s" (join "\n  - " .)) -}}
{{- end -}}
{{- end -}}
