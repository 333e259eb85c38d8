{{/* What the schema cannot say. Each message names the remedy. */}}
{{- define "chart.guards" -}}
{{- if has .Release.Namespace (list "kube-system" "kube-public" "kube-node-lease") -}}
{{- fail (printf "replicated-proxy-operator cannot be installed into %s: give it a namespace of its own, for example --namespace replicated-proxy-operator --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- if eq (int .Values.settings.webhook.port) (int .Values.settings.webhook.healthPort) -}}
{{- fail (printf "settings.webhook.port and settings.webhook.healthPort are both %v: choose different ports" .Values.settings.webhook.port) -}}
{{- end -}}
{{- $grace := add .Values.settings.webhook.drainSeconds .Values.settings.webhook.shutdownSeconds -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int $grace) -}}
{{- fail (printf "terminationGracePeriodSeconds is %v: it must exceed settings.webhook.drainSeconds and shutdownSeconds together (%v)" .Values.terminationGracePeriodSeconds $grace) -}}
{{- end -}}
{{- end -}}
