{{/* What the Pods of both roles and of the clean-up have in common; (dict "root" $ "role" "controller"). */}}
{{- define "chart.podCommon" -}}
{{- $values := .root.Values -}}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{- with include "chart.imagePullSecrets" .root | fromJsonArray }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- /* The clean-up runs when the quota for a system's class is gone with the release, so GKE would refuse its Pod. */}}
{{- if and $values.priorityClassName (ne .role "cleanup") }}
priorityClassName: {{ $values.priorityClassName }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What their containers have in common; (dict "root" $ "role" "controller"). */}}
{{- define "chart.containerCommon" -}}
{{- $values := .root.Values -}}
image: {{ include "chart.image" .root | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
env:
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  {{- if eq .role "controller" }}
  # Names this replica in the Lease.
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with (index $values .role).resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: settings
    mountPath: /etc/replicated-proxy
    readOnly: true
  - name: tmp
    mountPath: /tmp
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if and (eq .role "webhook") (include "chart.detectionCaVolume" .root) }}
  - name: detection-ca
    mountPath: {{ include "chart.detectionCaFolder" . }}
    readOnly: true
  {{- end }}
  {{- if and (eq .role "webhook") (include "chart.clientCaVolume" .root) }}
  - name: client-ca
    mountPath: {{ include "chart.clientCaFolder" . }}
    readOnly: true
  {{- end }}
{{- end -}}

{{/* Volumes for these mounts; (dict "root" $ "settings" <ConfigMap>). */}}
{{- define "chart.volumes" -}}
- name: settings
  configMap:
    name: {{ .settings }}
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where the webhook finds the authorities of private registries: a folder, so that the kubelet keeps it up to date. */}}
{{- define "chart.detectionCaFolder" -}}
/etc/replicated-proxy-detection-ca
{{- end -}}

{{/* The volume with these authorities; empty where detectionCa names nothing. */}}
{{- define "chart.detectionCaVolume" -}}
{{- $ca := .Values.detectionCa | default dict -}}
{{- if or $ca.configMap $ca.secret -}}
- name: detection-ca
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

{{/* Spread of a role's replicas; (dict "root" $ "role" "controller"). */}}
{{- define "chart.spread" -}}
{{- with (index .root.Values .role).topologySpreadConstraints -}}
{{- toYaml . -}}
{{- else -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "chart.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Keeps one replica of a role while nodes are drained; (dict "root" $ "role" "controller"). */}}
{{- define "chart.disruptionBudget" -}}
{{- $own := index .root.Values .role -}}
{{- if and $own.podDisruptionBudget (gt (int $own.replicas) 1) -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include (printf "chart.%sName" .role) .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "chart.labels" . | nindent 4 }}
  {{- with include "chart.annotations" . }}
  {{- . | nindent 2 }}
  {{- end }}
spec:
  minAvailable: 1
  # A replica that is not ready protects nobody and must not hold up the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "chart.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Labels of a Pod; (dict "root" $ "role" "controller"). */}}
{{- define "chart.podLabels" -}}
{{- toYaml (merge (include "chart.labels" . | fromYaml) .root.Values.podLabels) -}}
{{- end -}}

{{/* The Pod of a role; (dict "root" $ "role" "controller"). */}}
{{- define "chart.pod" -}}
{{- $values := .root.Values -}}
{{- $settings := index $values.settings .role -}}
{{- $checksum := dict "checksum/config" (include "chart.settingsChecksum" .root) -}}
metadata:
  annotations:
    {{- toYaml (merge $checksum $values.podAnnotations) | nindent 4 }}
  labels:
    {{- include "chart.podLabels" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "chart.serviceAccountName" . }}
  {{- include "chart.podCommon" . | nindent 2 }}
  {{- if and (eq .role "webhook") $values.webhook.hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- if eq .role "webhook" }}
  {{- with $values.webhook.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if or (eq .role "webhook") (gt (int (index $values .role).replicas) 1) }}
  topologySpreadConstraints:
    {{- include "chart.spread" . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      {{- include "chart.containerCommon" . | nindent 6 }}
      args:
        - {{ .role }}
        - --settings
        - /etc/replicated-proxy/settings.yaml
        {{- with (index $values .role).extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if eq .role "webhook" }}
        - name: https
          containerPort: {{ $settings.port }}
        {{- end }}
        - name: health
          containerPort: {{ $settings.healthPort }}
      {{- range $name, $path := dict "startup" "/livez" "liveness" "/livez" "readiness" "/readyz" }}
      {{ $name }}Probe:
        httpGet:
          path: {{ $path }}
          port: health
        {{- toYaml (index $values $.role "probes" $name) | nindent 8 }}
      {{- end }}
  volumes:
    {{- include "chart.volumes" (dict "root" .root "settings" (include "chart.fullname" .root)) | nindent 4 }}
    {{- if eq .role "webhook" }}
    {{- with include "chart.detectionCaVolume" .root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with include "chart.clientCaVolume" .root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end -}}
