{{/* What goes through the network, as parts of NetworkPolicies. A rule that names no peers speaks of everybody. */}}

{{/* TCP ports, as a JSON list. */}}
{{- define "chart.tcp" -}}
{{- $ports := list -}}
{{- range . -}}
{{- $ports = append $ports (dict "protocol" "TCP" "port" (int .)) -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Networks as peers, as a JSON list. */}}
{{- define "chart.networks" -}}
{{- $peers := list -}}
{{- range . -}}
{{- $network := ternary . (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) (contains "/" .) -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" $network)) -}}
{{- end -}}
{{- toJson $peers -}}
{{- end -}}

{{/* A rule as JSON; (dict "direction" "to" "peers" <JSON list> "ports" <JSON list>). */}}
{{- define "chart.flow" -}}
{{- $rule := dict "ports" (fromJsonArray .ports) -}}
{{- with fromJsonArray (.peers | default "[]") }}{{- $_ := set $rule $.direction . }}{{- end -}}
{{- toJson $rule -}}
{{- end -}}

{{/* To the API server, which everything of ours needs. */}}
{{- define "chart.flowToApiServer" -}}
{{- $own := .Values.networkPolicy.apiServer -}}
{{- include "chart.flow" (dict "direction" "to" "peers" (include "chart.networks" $own.cidrs) "ports" (include "chart.tcp" $own.ports)) -}}
{{- end -}}

{{/* To name servers. */}}
{{- define "chart.flowToDns" -}}
{{- $ports := list -}}
{{- range $port := .Values.networkPolicy.dns.ports -}}
{{- range $protocol := list "UDP" "TCP" -}}
{{- $ports = append $ports (dict "protocol" $protocol "port" (int $port)) -}}
{{- end -}}
{{- end -}}
{{- include "chart.flow" (dict "direction" "to" "peers" (toJson .Values.networkPolicy.dns.to) "ports" (toJson $ports)) -}}
{{- end -}}

{{/* To the webhook's replicas; in the nodes' network they have no addresses of their own. */}}
{{- define "chart.flowToReplicas" -}}
{{- $peers := list -}}
{{- if not .Values.webhook.hostNetwork -}}
{{- $labels := include "chart.selectorLabels" (dict "root" . "role" "webhook") | fromYaml -}}
{{- $peers = list (dict "podSelector" (dict "matchLabels" $labels)) -}}
{{- end -}}
{{- include "chart.flow" (dict "direction" "to" "peers" (toJson $peers) "ports" (include "chart.tcp" (list .Values.settings.webhook.port))) -}}
{{- end -}}

{{/* To registries, as far as the webhook itself would ask them: not in private networks unless they are allowed. Behind an
     egress proxy, to that alone. */}}
{{- define "chart.flowToRegistries" -}}
{{- $detection := .Values.settings.detection | default dict -}}
{{- $own := .Values.networkPolicy.registries -}}
{{- if $detection.httpProxy -}}
{{- $port := trimSuffix "/" $detection.httpProxy | splitList ":" | last -}}
{{- include "chart.flow" (dict "direction" "to" "peers" (include "chart.networks" $own.proxyCidrs) "ports" (include "chart.tcp" (list $port))) -}}
{{- else -}}
{{- $four := list "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "168.63.129.16/32" "169.254.0.0/16" "172.16.0.0/12" "192.0.0.0/24" "192.168.0.0/16" -}}
{{- $six := list "::1/128" "fc00::/7" "fe80::/10" -}}
{{- range include "chart.networks" ($detection.internalNetworks | default list) | fromJsonArray -}}
{{- if contains ":" .ipBlock.cidr }}{{- $six = append $six .ipBlock.cidr }}{{- else }}{{- $four = append $four .ipBlock.cidr }}{{- end -}}
{{- end -}}
{{- $peers := list
  (dict "ipBlock" (dict "cidr" "0.0.0.0/0" "except" ($four | uniq)))
  (dict "ipBlock" (dict "cidr" "::/0" "except" ($six | uniq)))
-}}
{{- $peers = concat $peers (include "chart.networks" ($detection.allowedNetworks | default list) | fromJsonArray) -}}
{{- include "chart.flow" (dict "direction" "to" "peers" (toJson $peers) "ports" (include "chart.tcp" $own.ports)) -}}
{{- end -}}
{{- end -}}

{{/* Into the health port: probes and Prometheus. */}}
{{- define "chart.flowToHealth" -}}
{{- $port := (index .root.Values.settings .role).healthPort -}}
{{- include "chart.flow" (dict "direction" "from" "peers" (toJson .root.Values.networkPolicy.metricsFrom) "ports" (include "chart.tcp" (list $port))) -}}
{{- end -}}

{{/* Into the webhook: the API server and, where that is narrowed down, the controller. */}}
{{- define "chart.flowToWebhook" -}}
{{- $peers := include "chart.networks" .Values.networkPolicy.webhookCidrs | fromJsonArray -}}
{{- if $peers -}}
{{- $labels := include "chart.selectorLabels" (dict "root" . "role" "controller") | fromYaml -}}
{{- $peers = append $peers (dict "podSelector" (dict "matchLabels" $labels)) -}}
{{- end -}}
{{- include "chart.flow" (dict "direction" "from" "peers" (toJson $peers) "ports" (include "chart.tcp" (list .Values.settings.webhook.port))) -}}
{{- end -}}

{{/* Whether registries are asked at all. */}}
{{- define "chart.asksRegistries" -}}
{{- if eq (include "chart.mode" .) "private" }}yes{{ end -}}
{{- end -}}

{{/* A NetworkPolicy; (dict "root" $ "role" "controller" "ingress" <list of rules> "egress" <list of rules> "own" <annotations>). */}}
{{- define "chart.networkPolicy" -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include (printf "chart.%sName" .role) .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "chart.labels" . | nindent 4 }}
  {{- with include "chart.annotations" . }}
  {{- . | nindent 2 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "chart.selectorLabels" . | nindent 6 }}
  # Both directions count, so what is not listed is closed.
  policyTypes: [Ingress, Egress]
  {{- range $direction := list "ingress" "egress" }}
  {{- with index $ $direction }}
  {{ $direction }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}
