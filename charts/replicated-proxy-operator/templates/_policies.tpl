{{/* CEL: the spec of an object that may be anything, as a map; "object" or "oldObject". */}}
{{- define "chart.celSpec" -}}
{{ . }} != null && has({{ . }}.spec) && type({{ . }}.spec) == map ? dyn({{ . }}.spec) : dyn({})
{{- end -}}

{{/* CEL: what decides in other namespaces beside the spec; "object" or "oldObject". */}}
{{- define "chart.celMarks" -}}
{{ . }} == null ? [] :
[dyn({{ . }}).metadata.?labels[?"kots.io/app-slug"].orValue(""),
dyn({{ . }}).metadata.?annotations[?"proxy.kots.io/upstreams"].orValue("")]
{{- end -}}

{{/* CEL: whether the author may distribute; asked of the API server's authorizer for the whole cluster, so that no Role
     of a namespace grants it. */}}
{{- define "chart.celMayDistribute" -}}
authorizer.group("kots.io").resource("applications").check("distribute").allowed()
{{- end -}}

{{/* What to do about a refusal. */}}
{{- define "chart.distributeRemedy" -}}
have a cluster administrator apply it, or grant the author the verb distribute on applications.kots.io in the whole cluster
{{- if .Values.rbac.create }} (kubectl create clusterrolebinding NAME --clusterrole={{ include "chart.distributorName" . }} --user=AUTHOR){{ end -}}
{{- end -}}

{{/* What both policies are matched to; the plural of the kind. */}}
{{- define "chart.policyMatch" -}}
# The status is a resource of its own, which is not listed.
resourceRules:
  - apiGroups: [kots.io]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE]
    resources: [{{ . }}]
    scope: Namespaced
{{- end -}}
