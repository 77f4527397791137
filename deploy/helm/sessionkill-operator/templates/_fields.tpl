{{- /* The objects in a schema as a list. For each object: the expression with which a policy gets it (objects), its fields (known), and
the field that a user probably meant (meant), by a lower-case name or a lower-case value of an enum. */ -}}
{{- define "sessionkill.objectsOf" -}}
{{- $level := . }}
{{- $known := concat (.alsoKnown | default list) (keys .schema.properties) | sortAlpha }}
{{- $meant := dict }}
{{- range $field, $schema := .schema.properties }}
{{- range $schema.enum }}
{{- $_ := set $meant (lower .) $field }}
{{- end }}
{{- end }}
{{- range $known }}
{{- $_ := set $meant (lower .) . }}
{{- end }}
- variable: {{ .variable }}
  path: {{ .path | quote }}
  objects: {{ .objects | quote }}
  known: {{ toJson $known }}
  meant: {{ toJson $meant }}
{{- range $field, $schema := .schema.properties }}
{{- $variable := printf "%s_%s" $level.variable $field }}
{{- if $schema.properties }}
{{- $objects := printf "variables.%s.map(it, has(it.%s), it.%s)" $level.variable $field $field }}
{{- include "sessionkill.objectsOf" (dict "schema" $schema "variable" $variable "path" (printf "%s%s." $level.path $field) "objects" $objects) }}
{{- else if dig "items" "properties" false $schema }}
{{- $objects := printf "variables.%s.exists(it, has(it.%s)) ? variables.%s[0].%s : []" $level.variable $field $level.variable $field }}
{{- include "sessionkill.objectsOf" (dict "schema" $schema.items "variable" $variable "path" (printf "%s%s[]." $level.path $field) "objects" $objects) }}
{{- end }}
{{- end }}
{{- end -}}
