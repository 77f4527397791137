{{- define "sessionkill.arguments" -}}
{{- $kept := .Values.operator.receiptRetentionSeconds | default 86400 }}
{{- if gt (int64 .Values.operator.missedKillSeconds) (int64 $kept) }}
{{- fail (printf "operator.missedKillSeconds: receipts are kept for %d s only: set it to that or less, or receiptRetentionSeconds to more" (int64 $kept)) }}
{{- end -}}
- run
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- if not (kindIs "invalid" .Values.clusterConnections.enabled) }}
- --cluster-connections={{ .Values.clusterConnections.enabled }}
{{- end }}
{{- with .Values.clusterConnections.resourceNamespace }}
- --cluster-resource-namespace={{ . }}
{{- end }}
{{- with .Values.operator.allowEndpoints }}
- --allow-endpoint={{ join "," . }}
{{- end }}
{{- with .Values.operator.allowSQLHosts }}
- --allow-sql-host={{ join "," . }}
{{- end }}
{{- with .Values.operator.allowIdentities }}
- --allow-identity={{ join "," . }}
{{- end }}
{{- with .Values.operator.clusterName }}
- --cluster-name={{ . }}
{{- end }}
{{- if .Values.operator.apiServerHTTP1 }}
- --api-server-http1
{{- end }}
{{- range $option, $value := dict
    "dispatch-window-seconds" .Values.operator.dispatchWindowSeconds
    "max-concurrent-calls" .Values.operator.maxConcurrentCalls
    "sweep-interval-seconds" .Values.operator.sweepIntervalSeconds
    "receipt-retention-seconds" .Values.operator.receiptRetentionSeconds
    "missed-kill-seconds" .Values.operator.missedKillSeconds }}
{{- if not (kindIs "invalid" $value) }}
- --{{ $option }}={{ int $value }}
{{- end }}
{{- end }}
{{- if ne .Values.operator.logFormat "json" }}
- --log-format={{ .Values.operator.logFormat }}
{{- end }}
{{- if .Values.leaderElection.enabled }}
- --leader-election
- --lease-name={{ include "sessionkill.name" . }}
{{- with .Values.leaderElection.leaseDurationSeconds }}
- --lease-duration-seconds={{ int . }}
{{- end }}
{{- end }}
{{- range .Values.operator.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- /* The operator's own identity at Alibaba Cloud: its variables, and the token that is mounted for it. */ -}}
{{- define "sessionkill.ownIdentity" -}}
{{- with .Values.rrsa.oidcProviderARN -}}
- name: ALIBABA_CLOUD_OIDC_PROVIDER_ARN
  value: {{ . }}
- name: ALIBABA_CLOUD_OIDC_TOKEN_FILE
  value: /var/run/secrets/sessionkill/rrsa/token
{{- end -}}
{{- end -}}

{{- define "sessionkill.tokenMount" -}}
- name: rrsa-token
  mountPath: /var/run/secrets/sessionkill/rrsa
  readOnly: true
{{- end -}}

{{- define "sessionkill.tokenVolume" -}}
- name: rrsa-token
  projected:
    sources:
    - serviceAccountToken:
        audience: sts.aliyuncs.com
        expirationSeconds: 3600
        path: token
{{- end -}}

{{- define "sessionkill.environment" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: RUST_LOG
  value: {{ .Values.operator.logLevel | quote }}
{{- if .Values.proxy.secretRef.name }}
- name: SESSIONKILL_PROXY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.proxy.secretRef.name }}
      key: {{ .Values.proxy.secretRef.key }}
{{- else if .Values.proxy.url }}
- name: SESSIONKILL_PROXY
  value: {{ .Values.proxy.url | quote }}
{{- end }}
{{- with include "sessionkill.ownIdentity" . }}
{{ . }}
{{- end }}
{{- if .Values.extraCA.configMap }}
# Together these two replace the default. They trust the public authorities of the image, and those of the ConfigMap.
- name: SSL_CERT_FILE
  value: /etc/ssl/certs/ca-certificates.crt
- name: SSL_CERT_DIR
  value: /etc/sessionkill/ca
{{- end }}
{{- if .Values.logFilter.configMap }}
- name: SESSIONKILL_LOG_FILTER_FILE
  value: /etc/sessionkill/logs/filter
{{- end }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- if not (kindIs "invalid" .sampleRatio) }}
- name: OTEL_TRACES_SAMPLER
  value: traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .sampleRatio | quote }}
{{- end }}
{{- if .headersSecretRef.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecretRef.name }}
      key: {{ .headersSecretRef.key }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.operator.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The affinity of the values, and the preference for zones unless the values have a podAntiAffinity. */ -}}
{{- define "sessionkill.affinity" -}}
{{- with .Values.affinity }}
{{- toYaml . }}
{{ end }}
{{- if and .Values.topologySpread.enabled (not (hasKey .Values.affinity "podAntiAffinity")) -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
  - weight: 100
    podAffinityTerm:
      topologyKey: topology.kubernetes.io/zone
      labelSelector:
        matchLabels:
          {{- include "sessionkill.selector" . | nindent 10 }}
      matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}
