{{/* The webhook's certificate: who makes it, and whether what is written goes together. */}}

{{/* SelfManaged, CertManager or ExistingSecret. */}}
{{- define "chart.certificateMode" -}}
{{- .Values.settings.certificates.mode | default "SelfManaged" -}}
{{- end -}}

{{/* "yes" where the controller makes the certificate, and so may write Secrets for it and caBundle. */}}
{{- define "chart.certificatesManaged" -}}
{{- if eq (include "chart.certificateMode" .) "SelfManaged" }}yes{{ end -}}
{{- end -}}

{{/* Annotations of the webhook configuration: the administrator's, and in cert-manager's mode where its injector finds
     the CA bundle. */}}
{{- define "chart.webhookConfigurationAnnotations" -}}
{{- $own := deepCopy .Values.webhook.annotations -}}
{{- if eq (include "chart.certificateMode" .) "CertManager" -}}
{{- $_ := set $own "cert-manager.io/inject-ca-from" (printf "%s/%s" .Release.Namespace (include "chart.webhookName" .)) -}}
{{- end -}}
{{- include "chart.annotations" (dict "root" $ "own" $own) -}}
{{- end -}}

{{/* Names in the certificate, as a JSON list; (list . true) gives the addresses among them, (list . false) the rest. The
     API server asks for <service>.<namespace>.svc. */}}
{{- define "chart.certificateNames" -}}
{{- $root := index . 0 -}}
{{- $service := printf "%s.%s" (include "chart.webhookName" $root) $root.Release.Namespace -}}
{{- $names := list (include "chart.webhookName" $root) $service (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service) -}}
{{- $found := list -}}
{{- range concat $names ($root.Values.settings.certificates.extraNames | default list) -}}
{{- if eq (index $ 1) (or (contains ":" .) (regexMatch "^[0-9.]+$" .)) -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Seconds of a duration (8760h, 1h30m, 20s). */}}
{{- define "chart.seconds" -}}
{{- /* atoi, since int64 reads 010 as octal. */ -}}
{{- $hours := regexFind "[0-9]+h" . | trimSuffix "h" | default "0" | atoi -}}
{{- $minutes := regexFind "[0-9]+m" . | trimSuffix "m" | default "0" | atoi -}}
{{- $seconds := regexFind "[0-9]+s" . | trimSuffix "s" | default "0" | atoi -}}
{{- add (mul $hours 3600) (mul $minutes 60) $seconds -}}
{{- end -}}

{{/* What the operator would refuse at its start, and what would have no effect. */}}
{{- define "chart.guardCertificates" -}}
{{- $certificates := .Values.settings.certificates -}}
{{- $mode := include "chart.certificateMode" . -}}
{{- $ca := include "chart.seconds" ($certificates.caLifetime | default "87600h") | int64 -}}
{{- $leaf := include "chart.seconds" ($certificates.leafLifetime | default "8760h") | int64 -}}
{{- $delay := include "chart.seconds" ($certificates.propagationDelay | default "2m") | int64 -}}
{{- if gt $leaf $ca -}}
{{- fail (printf "settings.certificates.leafLifetime is %s, more than caLifetime (%s): a certificate cannot outlive its authority" $certificates.leafLifetime $certificates.caLifetime) -}}
{{- end -}}
{{- if and (eq $mode "CertManager") (gt (mul 3 $leaf) $ca) -}}
{{- fail (printf "settings.certificates.leafLifetime is %s, more than a third of caLifetime (%s): cert-manager does not end a certificate with its authority, so write a shorter one" $certificates.leafLifetime $certificates.caLifetime) -}}
{{- end -}}
{{- if and (eq $mode "SelfManaged") (gt (mul 4 $delay) $leaf) -}}
{{- fail (printf "settings.certificates.propagationDelay is %s, more than a quarter of leafLifetime (%s): the serving certificate could end while the next one has to wait" $certificates.propagationDelay $certificates.leafLifetime) -}}
{{- end -}}
{{- include "chart.guardCertificateOwners" . -}}
{{- end -}}

{{/* A value that belongs to another mode would be ignored without a word. */}}
{{- define "chart.guardCertificateOwners" -}}
{{- $mode := include "chart.certificateMode" . -}}
{{- if and .Values.webhook.caBundle (ne $mode "ExistingSecret") -}}
{{- fail (printf "webhook.caBundle is set, and settings.certificates.mode is %s: caBundle has another owner then; leave the value empty or set the mode to ExistingSecret" $mode) -}}
{{- end -}}
{{- with .Values.webhook.caBundle -}}
{{- if not (regexMatch "^\\s*-----BEGIN CERTIFICATE-----" .) -}}
{{- fail "webhook.caBundle is no PEM: write the certificates as they are (-----BEGIN CERTIFICATE----- …), not in base64 once more" -}}
{{- end -}}
{{- end -}}
{{- if and (.Values.certManager | default dict).issuerRef (ne $mode "CertManager") -}}
{{- fail (printf "certManager.issuerRef is set, and settings.certificates.mode is %s: leave it empty or set the mode to CertManager" $mode) -}}
{{- end -}}
{{- end -}}
