{{/* Settings that the program would refuse at its start because they do not go together: replicas of a new version would end,
     and those of the old one stay. Forms of single texts are in _forms.tpl, ranges of numbers in the schema. */}}

{{/* What is wrong, in words, as a JSON list. A value that was taken away with null has the program's default. */}}
{{- define "chart.settingProblems" -}}
{{- $controller := .Values.settings.controller -}}
{{- $problems := list -}}
{{- $first := $controller.retryFirstSeconds | default 1 | float64 -}}
{{- $longest := $controller.retryLongestSeconds | default 300 | float64 -}}
{{- if lt $longest $first -}}
{{- $problems = append $problems (printf "settings.controller.retryLongestSeconds is %v, less than settings.controller.retryFirstSeconds (%v): write that or more" $longest $first) -}}
{{- end -}}
{{- $duration := index (include "chart.forms" . | fromJson) "duration" 0 -}}
{{- range $key := list "caLifetime" "leafLifetime" -}}
{{- with get $.Values.settings.certificates $key -}}
{{- $seconds := include "chart.seconds" . | int64 -}}
{{- if and (regexMatch (printf "^(%s)$" $duration) .) (or (lt $seconds 4) (gt $seconds 3153600000)) -}}
{{- $problems = append $problems (printf "settings.certificates.%s is %s, no lifetime: write 4s to 876000h" $key .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $number, $source := .Values.settings.sources.secrets -}}
{{- $place := printf "%s/%s/%s" $source.namespace $source.name $source.key -}}
{{- if hasKey $seen $place -}}
{{- $problems = append $problems (printf "settings.sources.secrets[%d] has the namespace, name and key of settings.sources.secrets[%v]: remove one" $number (get $seen $place)) -}}
{{- else -}}
{{- $_ := set $seen $place $number -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
