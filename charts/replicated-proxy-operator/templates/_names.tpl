{{/* Names and labels. Every name that another object refers to is made here. */}}

{{- define "chart.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Release and chart, or only the release where it names the chart already; short enough for "-webhook" behind it. */}}
{{- define "chart.fullname" -}}
{{- $name := include "chart.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "chart.controllerName" -}}
{{- include "chart.fullname" . }}-controller
{{- end -}}

{{/* The webhook's Deployment and the Service that the API server calls. */}}
{{- define "chart.webhookName" -}}
{{- include "chart.fullname" . }}-webhook
{{- end -}}

{{/* The headless Service whose addresses are the webhook's replicas; they exist for the controller alone. */}}
{{- define "chart.replicasService" -}}
{{- include "chart.webhookName" . }}-replicas
{{- end -}}

{{/* Everything of the uninstallation hook, its ServiceAccount included. */}}
{{- define "chart.cleanupName" -}}
{{- include "chart.fullname" . }}-cleanup
{{- end -}}

{{/* The Secret that is made of global.replicated.dockerconfigjson. */}}
{{- define "chart.injectedSecretName" -}}
{{- include "chart.fullname" . }}-license
{{- end -}}

{{/* ClusterRole for authors who may reach beyond a namespace. */}}
{{- define "chart.distributorName" -}}
{{- include "chart.fullname" . }}-distributor
{{- end -}}

{{/* ServiceAccount of a role; (dict "root" $ "role" "controller"). */}}
{{- define "chart.serviceAccountName" -}}
{{- $account := (index .root.Values .role).serviceAccount -}}
{{- $own := include (printf "chart.%sName" .role) .root -}}
{{- $account.name | default (ternary $own "default" $account.create) -}}
{{- end -}}

{{- define "chart.image" -}}
{{- $repository := list .Values.image.registry .Values.image.repository | compact | join "/" -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Labels that select the Pods of a role and never change; (dict "root" $ "role" "controller"). */}}
{{- define "chart.selectorLabels" -}}
app.kubernetes.io/name: {{ include "chart.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of every object; (dict "root" $ "role" "controller"), or without a role for what belongs to none. */}}
{{- define "chart.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "chart.name" .root)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/part-of" "replicated-proxy-operator"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- with .role }}{{- $_ := set $own "app.kubernetes.io/component" . }}{{- end -}}
{{- toYaml (merge $own .root.Values.commonLabels) -}}
{{- end -}}
