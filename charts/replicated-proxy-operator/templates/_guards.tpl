{{/* What the schema cannot say. Each message names the remedy. */}}
{{- define "chart.guards" -}}
{{- include "chart.guardForms" . -}}
{{- include "chart.guardDetectionCa" . -}}
{{- include "chart.guardClientCa" . -}}
{{- include "chart.guardInjectedLicense" . -}}
{{- include "chart.guardCertificates" . -}}
{{- include "chart.guardLease" . -}}
{{- include "chart.guardNames" . -}}
{{- if has .Release.Namespace (list "kube-system" "kube-public" "kube-node-lease") -}}
{{- fail (printf "replicated-proxy-operator cannot be installed into %s: give it a namespace of its own, for example --namespace replicated-proxy-operator --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- if eq (int .Values.settings.webhook.port) (int .Values.settings.webhook.healthPort) -}}
{{- fail (printf "settings.webhook.port and settings.webhook.healthPort are both %v: choose different ports" .Values.settings.webhook.port) -}}
{{- end -}}
{{- if and .Values.webhook.hostNetwork (eq (int .Values.settings.webhook.port) 10250) -}}
{{- fail "webhook.hostNetwork is true, and settings.webhook.port is 10250, which is the kubelet's port on every node: choose another one, for example 10260" -}}
{{- end -}}
{{- $grace := add .Values.settings.webhook.drainSeconds .Values.settings.webhook.shutdownSeconds -}}
{{- /* After those the webhook closes connections for a second; the rest is for starting to end and for a busy node. */}}
{{- $least := add $grace 5 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
{{- fail (printf "terminationGracePeriodSeconds is %v: it must be at least %v, settings.webhook.drainSeconds and shutdownSeconds together (%v) and 5 more" .Values.terminationGracePeriodSeconds $least $grace) -}}
{{- end -}}
{{- end -}}

{{/* The webhook reads one file of authorities. */}}
{{- define "chart.guardDetectionCa" -}}
{{- $ca := .Values.detectionCa | default dict -}}
{{- if and $ca.configMap $ca.secret -}}
{{- fail (printf "detectionCa names both configMap %s and secret %s: leave one of them empty" $ca.configMap $ca.secret) -}}
{{- end -}}
{{- if and (include "chart.detectionCaVolume" .) (.Values.settings.detection | default dict).caFile -}}
{{- fail (printf "settings.detection.caFile is %s, and detectionCa mounts another file: leave caFile empty, it is set by itself" .Values.settings.detection.caFile) -}}
{{- end -}}
{{- end -}}

{{/* The messages show nothing of the docker config, which is a credential. */}}
{{- define "chart.guardInjectedLicense" -}}
{{- with include "chart.injectedConfig" . -}}
{{- if not (hasKey (b64dec . | fromJson) "auths") -}}
{{- fail "global.replicated.dockerconfigjson is not the base64 text of a docker config ({\"auths\": …}): leave it as Replicated's registry wrote it, or leave it out" -}}
{{- end -}}
{{- if not $.Values.injectedLicense.appSlug -}}
{{- fail "global.replicated.dockerconfigjson holds a license, but not for which application: set injectedLicense.appSlug to the application's slug in the vendor portal, for example --set injectedLicense.appSlug=my-app" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A holder of the Lease needs a second try before it stops writing, and stops before another one starts. */}}
{{- define "chart.guardLease" -}}
{{- $given := .Values.settings.controller -}}
{{- /* A value that was taken away with null has the program's default. */ -}}
{{- $retry := $given.retrySeconds | default 2 -}}
{{- $renew := $given.renewSeconds | default 10 -}}
{{- $lease := $given.leaseSeconds | default 15 -}}
{{- if not (and (lt (float64 $retry) (float64 $renew)) (lt (float64 $renew) (float64 $lease))) -}}
{{- fail (printf "settings.controller has retrySeconds %v, renewSeconds %v and leaseSeconds %v: each must be less than the next" $retry $renew $lease) -}}
{{- end -}}
{{- end -}}

{{/* The controller would write over, and the clean-up delete, what the release itself made under the same name. */}}
{{- define "chart.guardNames" -}}
{{- $settings := .Values.settings -}}
{{- if eq $settings.routesConfigMap (include "chart.fullname" .) -}}
{{- fail (printf "settings.routesConfigMap is %s, the name of the release's own ConfigMap: choose another name" $settings.routesConfigMap) -}}
{{- end -}}
{{- range $key := list "caSecret" "servingSecret" -}}
{{- if eq (get $settings.certificates $key) $settings.secret.name -}}
{{- fail (printf "settings.certificates.%s is %s, the name of the pull secrets (settings.secret.name): choose another name" $key $settings.secret.name) -}}
{{- end -}}
{{- end -}}
{{- range $number, $source := $settings.sources.secrets -}}
{{- if eq $source.name $settings.secret.name -}}
{{- fail (printf "settings.sources.secrets[%d].name is %s, the name of the pull secrets (settings.secret.name): choose another name" $number $source.name) -}}
{{- end -}}
{{- end -}}
{{- if eq $settings.certificates.caSecret $settings.certificates.servingSecret -}}
{{- fail (printf "settings.certificates.caSecret and servingSecret are both %s: choose different names" $settings.certificates.caSecret) -}}
{{- end -}}
{{- end -}}
