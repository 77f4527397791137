{{- define "sessionkill.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "sessionkill-operator" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-sessionkill-operator" (.Release.Name | trunc 31 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "sessionkill.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "sessionkill.name" .) -}}
{{- end -}}

{{- /* Whether requests may name ClusterOceanBaseConnections: as the value says, or if it is null, unless watchNamespaces is set. */ -}}
{{- define "sessionkill.clusterConnections" -}}
{{- $enabled := .Values.clusterConnections.enabled -}}
{{- if kindIs "invalid" $enabled -}}
{{- $enabled = empty .Values.watchNamespaces -}}
{{- end -}}
{{- if $enabled -}}true{{- end -}}
{{- end -}}

{{- /* The namespace of the Secrets, Services and accounts that they name. */ -}}
{{- define "sessionkill.resourceNamespace" -}}
{{- .Values.clusterConnections.resourceNamespace | default .Release.Namespace -}}
{{- end -}}

{{- define "sessionkill.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- define "sessionkill.selector" -}}
app.kubernetes.io/name: sessionkill-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sessionkill.labels" -}}
{{ include "sessionkill.selector" . }}
app.kubernetes.io/part-of: sessionkill
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- /* As the Pod Security Standard "restricted" requires. */ -}}
{{- define "sessionkill.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sessionkill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
