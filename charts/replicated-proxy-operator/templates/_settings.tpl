{{/* settings.yaml: the values' settings and what only the chart knows. */}}
{{- define "chart.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- $release := printf "%s/%s" .Release.Namespace .Release.Name -}}
{{- $_ := set $settings "installation" ($settings.installation | default $release) -}}
{{- $_ := set $settings.webhook "serviceName" (include "chart.webhookName" .) -}}
{{- $_ := set $settings.webhook "configurationName" (include "chart.clusterName" .) -}}
{{- if hasKey $settings "detection" -}}
{{- /* A null for what is no default stays in the map, and means what it means for a default: nothing is assumed. */ -}}
{{- range $pattern, $word := $settings.detection.assume | default dict -}}
{{- if kindIs "invalid" $word }}{{ $_ := unset $settings.detection.assume $pattern }}{{ end -}}
{{- end -}}
{{- $_ := set $settings.detection "replicasService" (printf "%s.%s.svc" (include "chart.replicasService" .) .Release.Namespace) -}}
{{- if include "chart.detectionCaVolume" . -}}
{{- $_ := set $settings.detection "caFile" (printf "%s/ca.crt" (include "chart.detectionCaFolder" .)) -}}
{{- end -}}
{{- end -}}
{{- if include "chart.clientCaVolume" . -}}
{{- $_ := set $settings.webhook "clientCaFile" (printf "%s/ca.crt" (include "chart.clientCaFolder" .)) -}}
{{- end -}}
{{- $_ := set $settings.sources "secrets" (include "chart.secretSources" . | fromJsonArray) -}}
{{- $_ := unset $settings.proxy "allowedHosts" -}}
{{- /* An unquoted "off" is "false" in YAML. */ -}}
{{- if and (hasKey $settings "rewrite") (kindIs "bool" $settings.rewrite.mode) -}}
{{- $_ := set $settings.rewrite "mode" "off" -}}
{{- end -}}
{{- if and (hasKey $settings "license") (kindIs "bool" $settings.license.signature) -}}
{{- $_ := set $settings.license "signature" "Off" -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Changes with whatever the Pods work by; the injected license goes in as a checksum of its own. */}}
{{- define "chart.settingsChecksum" -}}
{{- $injected := include "chart.injectedConfig" . -}}
{{- $sum := ternary (sha256sum $injected) "" (ne $injected "") -}}
{{- printf "%s%s" (include "chart.settings" .) $sum | sha256sum -}}
{{- end -}}

{{/* The Secrets that hold licenses, as a JSON list: those of the settings, and the injected one. */}}
{{- define "chart.secretSources" -}}
{{- $sources := .Values.settings.sources.secrets -}}
{{- if include "chart.injectedConfig" . -}}
{{- $own := dict
  "namespace" .Release.Namespace
  "name" (include "chart.injectedSecretName" .)
  "key" ".dockerconfigjson"
  "appSlug" .Values.injectedLicense.appSlug
-}}
{{- with .Values.injectedLicense.proxyHost }}{{- $_ := set $own "proxyHost" . }}{{- end -}}
{{- with .Values.injectedLicense.namespaces }}{{- $_ := set $own "namespaces" . }}{{- end -}}
{{- $sources = append $sources $own -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{/* The docker config that Replicated's registry injected, in base64; empty where there is none. It is a credential: the
     Secret made of it is the one place that it may be rendered into. */}}
{{- define "chart.injectedConfig" -}}
{{- $global := .Values.global | default dict -}}
{{- if kindIs "map" $global.replicated -}}
{{- $global.replicated.dockerconfigjson | default "" | toString | nospace -}}
{{- end -}}
{{- end -}}

{{/* Namespaces that the API server keeps from the webhook by name, as a JSON list; globs are the webhook's matter. */}}
{{- define "chart.excludedNamespaces" -}}
{{- $names := list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace -}}
{{- range .Values.settings.secret.excludedNamespaces -}}
{{- if regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" . -}}
{{- $names = append $names . -}}
{{- end -}}
{{- end -}}
{{- toJson ($names | uniq) -}}
{{- end -}}

{{/* Hosts that anybody may name in a License, as a JSON list, which is a list in CEL too: Replicated's, and those of the
     settings. */}}
{{- define "chart.allowedHosts" -}}
{{- $hosts := list "proxy.replicated.com" "registry.replicated.com" "proxy.staging.replicated.com" "registry.staging.replicated.com" -}}
{{- $proxy := .Values.settings.proxy -}}
{{- $hosts = concat $hosts ($proxy.allowedHosts | default list) -}}
{{- $hosts = concat $hosts (values ($proxy.hosts | default dict)) (values ($proxy.registryHosts | default dict)) -}}
{{- toJson ($hosts | uniq | sortAlpha) -}}
{{- end -}}


{{/* How images are chosen; an unquoted "off" is "false" in YAML. */}}
{{- define "chart.mode" -}}
{{- $mode := (.Values.settings.rewrite | default dict).mode -}}
{{- ternary "off" ($mode | default "private") (kindIs "bool" $mode) -}}
{{- end -}}

{{/* Whether `helm test` has anything to show: in mode off no name ever changes. */}}
{{- define "chart.testEnabled" -}}
{{- if and .Values.test.enabled (ne (include "chart.mode" .) "off") }}yes{{ end -}}
{{- end -}}
