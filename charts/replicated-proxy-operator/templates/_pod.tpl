{{/* The Pod of a role; (dict "root" $ "role" "controller"). */}}
{{- define "chart.pod" -}}
{{- $values := .root.Values -}}
{{- $settings := index $values.settings .role -}}
{{- $checksum := dict "checksum/config" (include "chart.settings" .root | sha256sum) -}}
metadata:
  annotations:
    {{- toYaml (merge $checksum $values.podAnnotations) | nindent 4 }}
  labels:
    {{- toYaml (merge (include "chart.labels" . | fromYaml) $values.podLabels) | nindent 4 }}
spec:
  serviceAccountName: {{ include "chart.serviceAccountName" . }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- if and (eq .role "webhook") $values.webhook.hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .role "webhook" }}
  topologySpreadConstraints:
    {{- if $values.webhook.topologySpreadConstraints }}
    {{- toYaml $values.webhook.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "chart.selectorLabels" $ | nindent 10 }}
    {{- end }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "chart.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args:
        - {{ .role }}
        - --settings
        - /etc/replicated-proxy/settings.yaml
      env:
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if eq .role "webhook" }}
        - name: https
          containerPort: {{ $settings.port }}
        {{- end }}
        - name: health
          containerPort: {{ $settings.healthPort }}
      startupProbe:
        httpGet:
          path: /livez
          port: health
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /livez
          port: health
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: health
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      {{- with (index $values .role).resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: settings
          mountPath: /etc/replicated-proxy
          readOnly: true
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: settings
      configMap:
        name: {{ include "chart.fullname" .root }}
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 16Mi
{{- end -}}
