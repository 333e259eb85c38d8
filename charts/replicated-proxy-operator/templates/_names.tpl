{{/* Names and labels. Every name that another object refers to is made here. */}}

{{- define "chart.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Release and chart, or only the release where it names the chart already; short enough for "-webhook-replicas" behind it. */}}
{{- define "chart.fullname" -}}
{{- $name := include "chart.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | replace "." "-" | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{/* What objects of the whole cluster are called: the full name, and the namespace behind a dot unless both are one word.
     Names and namespaces hold no dots, so no two releases get the same. */}}
{{- define "chart.clusterName" -}}
{{- $name := include "chart.fullname" . -}}
{{- ternary $name (printf "%s.%s" $name .Release.Namespace) (eq $name .Release.Namespace) -}}
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

{{/* Everything of `helm test`, its ServiceAccount included. */}}
{{- define "chart.testName" -}}
{{- include "chart.fullname" . }}-test
{{- end -}}

{{/* Where the test's Pod would be created: a namespace with a License, or one that is made for it. */}}
{{- define "chart.testNamespace" -}}
{{- $hash := printf "%s/%s" .Release.Namespace (include "chart.fullname" .) | sha256sum | trunc 8 -}}
{{- .Values.test.namespace | default (printf "%s-%s" (include "chart.testName" .) $hash) -}}
{{- end -}}

{{/* Annotations of a hook; (list <hook> <weight>). */}}
{{- define "chart.hook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* The Secret that is made of global.replicated.dockerconfigjson. */}}
{{- define "chart.injectedSecretName" -}}
{{- include "chart.fullname" . }}-license
{{- end -}}

{{/* ClusterRole for authors who may reach beyond a namespace. */}}
{{- define "chart.distributorName" -}}
{{- include "chart.clusterName" . }}-distributor
{{- end -}}

{{/* ServiceAccount of a role; (dict "root" $ "role" "controller"). */}}
{{- define "chart.serviceAccountName" -}}
{{- $account := (index .root.Values .role).serviceAccount -}}
{{- $own := include (printf "chart.%sName" .role) .root -}}
{{- $account.name | default (ternary $own "default" $account.create) -}}
{{- end -}}

{{/* The operator's image: the registry that all charts of a parent share comes first, the digest beats the tag. */}}
{{- define "chart.image" -}}
{{- $registry := (.Values.global | default dict).imageRegistry | default .Values.image.registry -}}
{{- $repository := list $registry .Values.image.repository | compact | join "/" -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Pull secrets for it, as a JSON list of references; other charts take names alone in global, so both forms count. */}}
{{- define "chart.imagePullSecrets" -}}
{{- $found := list -}}
{{- range concat .Values.imagePullSecrets ((.Values.global | default dict).imagePullSecrets | default list) -}}
{{- $found = append $found (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- toJson ($found | uniq) -}}
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

{{/* Annotations of an object with their key before them, or nothing; (dict "root" $ "own" (dict …)). The own ones win. */}}
{{- define "chart.annotations" -}}
{{- with merge (dict) (.own | default dict) (.root.Values.commonAnnotations | default dict) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
