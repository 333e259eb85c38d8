{{/* Where the webhook finds the authority of the API server's client certificate: a folder, so that the kubelet keeps it
     up to date. */}}
{{- define "chart.clientCaFolder" -}}
/etc/replicated-proxy-client-ca
{{- end -}}

{{/* The volume with it; empty where clientCa names nothing. */}}
{{- define "chart.clientCaVolume" -}}
{{- $ca := .Values.clientCa | default dict -}}
{{- if or $ca.configMap $ca.secret -}}
- name: client-ca
  {{- if $ca.configMap }}
  configMap:
    name: {{ $ca.configMap }}
  {{- else }}
  secret:
    secretName: {{ $ca.secret }}
  {{- end }}
    items:
      - key: {{ $ca.key | quote }}
        path: ca.crt
{{- end -}}
{{- end -}}

{{/* The webhook reads one file of authorities, and names mean nothing without one. */}}
{{- define "chart.guardClientCa" -}}
{{- $ca := .Values.clientCa | default dict -}}
{{- $mounted := include "chart.clientCaVolume" . -}}
{{- if and $ca.configMap $ca.secret -}}
{{- fail (printf "clientCa names both configMap %s and secret %s: leave one of them empty" $ca.configMap $ca.secret) -}}
{{- end -}}
{{- if and $mounted .Values.settings.webhook.clientCaFile -}}
{{- fail (printf "settings.webhook.clientCaFile is %s, and clientCa mounts another file: leave clientCaFile empty, it is set by itself" .Values.settings.webhook.clientCaFile) -}}
{{- end -}}
{{- if and .Values.settings.webhook.clientNames (not $mounted) (not .Values.settings.webhook.clientCaFile) -}}
{{- fail "settings.webhook.clientNames lists names, but no authority that vouches for them: set clientCa.configMap or clientCa.secret as well" -}}
{{- end -}}
{{- end -}}
