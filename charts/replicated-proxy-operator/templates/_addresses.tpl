{{/* Addresses and networks, as the program reads them: no regular expression tells which bits a network leaves to its hosts. */}}

{{/* An address as a JSON list of numbers, 4 of 8 bits or 8 of 16; empty where a text is none. */}}
{{- define "chart.addressParts" -}}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- $dotted := printf "%s([.]%s){3}" $octet $octet -}}
{{- $parts := list -}}
{{- if regexMatch (printf "^%s$" $dotted) . -}}
{{- range splitList "." . -}}
{{- $parts = append $parts (atoi .) -}}
{{- end -}}
{{- else -}}
{{- $sides := splitList "::" (include "chart.withoutDots" (list . (regexFind (printf ":%s$" $dotted) .))) -}}
{{- $left := include "chart.hexParts" (first $sides) | fromJsonArray -}}
{{- $right := include "chart.hexParts" (last $sides) | fromJsonArray -}}
{{- $given := add (len $left) (len $right) | int -}}
{{- if has -1.0 (concat $left $right) -}}
{{- else if and (eq (len $sides) 2) (lt $given 8) -}}
{{- $parts = $left -}}
{{- range until (int (sub 8 $given)) -}}
{{- $parts = append $parts 0 -}}
{{- end -}}
{{- $parts = concat $parts $right -}}
{{- else if and (eq (len $sides) 1) (eq (len $left) 8) -}}
{{- $parts = $left -}}
{{- end -}}
{{- end -}}
{{- with $parts }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* An IPv6 address whose end is not written as one of IPv4; (list <address> <":" and that end, or nothing>). */}}
{{- define "chart.withoutDots" -}}
{{- $end := index . 1 -}}
{{- if $end -}}
{{- $octets := splitList "." (trimPrefix ":" $end) -}}
{{- $high := add (mul 256 (atoi (index $octets 0))) (atoi (index $octets 1)) -}}
{{- $low := add (mul 256 (atoi (index $octets 2))) (atoi (index $octets 3)) -}}
{{- printf "%s:%x:%x" (trimSuffix $end (index . 0)) $high $low -}}
{{- else -}}
{{- index . 0 -}}
{{- end -}}
{{- end -}}

{{/* One side of "::" as a JSON list of numbers, -1 for what is none. */}}
{{- define "chart.hexParts" -}}
{{- $found := list -}}
{{- if . -}}
{{- range splitList ":" . -}}
{{- $found = append $found (ternary (int (printf "0x%s" .)) -1 (regexMatch "^[0-9a-fA-F]{1,4}$" .)) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* What is odd about the address in a text that has its form, in words, or nothing; (list <form> <text>). */}}
{{- define "chart.oddAddress" -}}
{{- $form := index . 0 -}}
{{- $text := index . 1 -}}
{{- if and (eq $form "certificate name") (contains ":" $text) -}}
{{- if not (include "chart.addressParts" $text) }}which is no IP address{{ end -}}
{{- else if and (eq $form "proxy") (contains "[" $text) -}}
{{- $parts := regexFind "\\[.*\\]" $text | trimAll "[]" | include "chart.addressParts" -}}
{{- if ne (len ($parts | default "[]" | fromJsonArray)) 8 }}whose host is no IP address{{ end -}}
{{- else if eq $form "asked network" -}}
{{- include "chart.oddNetwork" $text -}}
{{- end -}}
{{- end -}}

{{/* What is odd about a network, in words, or nothing. */}}
{{- define "chart.oddNetwork" -}}
{{- $halves := splitList "/" . -}}
{{- $parts := include "chart.addressParts" (first $halves) | default "[]" | fromJsonArray -}}
{{- $width := ternary 8 16 (eq (len $parts) 4) -}}
{{- $longest := mul $width (len $parts) | int -}}
{{- $length := ternary $longest (atoi (last $halves)) (eq (len $halves) 1) -}}
{{- if not $parts -}}
which is no IP address
{{- else if gt $length $longest -}}
{{- printf "whose length is more than %d" $longest -}}
{{- else -}}
{{- $left := list 1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 -}}
{{- $odd := false -}}
{{- range $number, $part := $parts -}}
{{- $bits := sub $length (mul $number $width) | min $width | max 0 | int -}}
{{- $odd = or $odd (ne (mod (int $part) (index $left (sub $width $bits | int))) 0) -}}
{{- end -}}
{{- if $odd }}which has host bits set{{ end -}}
{{- end -}}
{{- end -}}
