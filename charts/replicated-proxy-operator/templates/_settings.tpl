{{/* settings.yaml: the values' settings and what only the chart knows. */}}
{{- define "chart.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- $release := printf "%s/%s" .Release.Namespace .Release.Name -}}
{{- $_ := set $settings "installation" ($settings.installation | default $release) -}}
{{- $_ := set $settings.webhook "serviceName" (include "chart.webhookName" .) -}}
{{- $_ := set $settings.webhook "configurationName" (include "chart.fullname" .) -}}
{{- /* An unquoted "off" is "false" in YAML. */ -}}
{{- if and (hasKey $settings "rewrite") (kindIs "bool" $settings.rewrite.mode) -}}
{{- $_ := set $settings.rewrite "mode" "off" -}}
{{- end -}}
{{- toYaml $settings -}}
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
