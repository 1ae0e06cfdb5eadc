{{- define "rhs.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "rhs.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "rhs.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rhs.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "rhs.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: ray-history-server
{{ include "rhs.selector" . }}
{{- end -}}

{{- define "rhs.selector" -}}
app.kubernetes.io/name: {{ include "rhs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "rhs.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end -}}

{{/* Call with (dict "root" $ "who" "api"). */}}
{{- define "rhs.serviceAccount" -}}
{{- $account := index .root.Values.serviceAccounts .who -}}
{{- $account.name | default (ternary (printf "%s-%s" (include "rhs.fullname" .root) .who) "default" $account.create) -}}
{{- end -}}

{{- define "rhs.bundledRedis" -}}
{{- if and .Values.valkey.enabled (not .Values.redis.url) (not .Values.redis.existingSecret) -}}yes{{- end -}}
{{- end -}}

{{- define "rhs.valkeySecret" -}}
{{ .Values.valkey.existingSecret | default (printf "%s-valkey" (include "rhs.fullname" .)) }}
{{- end -}}

{{- define "rhs.flowerSecret" -}}
{{ .Values.flower.existingSecret | default (printf "%s-flower" (include "rhs.fullname" .)) }}
{{- end -}}

{{/* A password that is kept over upgrades: what the release's Secret holds, or a new one. (dict "root" $ "name" secret "given" value) */}}
{{- define "rhs.password" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- if .given -}}{{ .given }}
{{- else if and $found $found.data (index $found.data "password") -}}{{ index $found.data "password" | b64dec }}
{{- else -}}{{ randAlphaNum 32 }}
{{- end -}}
{{- end -}}

{{/* What every process reads. */}}
{{- define "rhs.environment" -}}
{{- if include "rhs.bundledRedis" . }}
- name: VALKEY_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "rhs.valkeySecret" . }}, key: password}
- name: RAY_HISTORY_REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "rhs.fullname" . }}-valkey:6379/0
{{- else }}
- name: RAY_HISTORY_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.existingSecret | default (printf "%s-redis" (include "rhs.fullname" .)) }}
      key: {{ ternary .Values.redis.existingSecretKey "url" (ne .Values.redis.existingSecret "") }}
{{- end }}
{{- if or .Values.broker.url .Values.broker.existingSecret }}
- name: RAY_HISTORY_BROKER_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.broker.existingSecret | default (printf "%s-broker" (include "rhs.fullname" .)) }}
      key: {{ ternary .Values.broker.existingSecretKey "url" (ne .Values.broker.existingSecret "") }}
{{- end }}
{{- if .Values.redis.caSecret }}
- name: RAY_HISTORY_REDIS_CA
  value: /etc/redis-ca/ca.crt
{{- end }}
{{- end -}}

{{/* Settings and storage credentials. */}}
{{- define "rhs.environmentFrom" -}}
- configMapRef: {name: {{ include "rhs.fullname" . }}}
{{- if .Values.storage.existingSecret }}
- secretRef: {name: {{ .Values.storage.existingSecret }}}
{{- end }}
{{- end -}}

{{- define "rhs.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.redis.caSecret }}
- {name: redis-ca, mountPath: /etc/redis-ca, readOnly: true}
{{- end }}
{{- if .Values.storage.existingClaim }}
- {name: storage, mountPath: /storage, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rhs.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.redis.caSecret }}
- name: redis-ca
  secret: {secretName: {{ .Values.redis.caSecret }}}
{{- end }}
{{- if .Values.storage.existingClaim }}
- name: storage
  persistentVolumeClaim: {claimName: {{ .Values.storage.existingClaim }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What all pods have in common; (dict "root" $ "who" "api" "values" .Values.api). */}}
{{- define "rhs.podMetadata" -}}
labels:
  {{- include "rhs.selector" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .who }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/settings: {{ include "rhs.settings" .root | sha256sum }}
  {{- if and .root.Values.metrics.annotations .port }}
  prometheus.io/scrape: "true"
  prometheus.io/path: /metrics
  prometheus.io/port: {{ .port | quote }}
  {{- end }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "rhs.podPlacement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The ConfigMap's data: settings that are not secret. */}}
{{- define "rhs.settings" -}}
{{- $settings := dict
  "RAY_HISTORY_STORAGE" (required "storage.url is needed: where the collector's data is" .Values.storage.url)
  "RAY_HISTORY_KUBERNETES" (ternary "incluster" "none" .Values.kubernetes.enabled)
-}}
{{- with .Values.storage.endpoint }}{{ $_ := set $settings "RAY_HISTORY_STORAGE_ENDPOINT" . }}{{ end -}}
{{- with .Values.storage.region }}{{ $_ := set $settings "RAY_HISTORY_STORAGE_REGION" . }}{{ end -}}
{{- if not (kindIs "invalid" .Values.storage.pathStyle) }}{{ $_ := set $settings "RAY_HISTORY_STORAGE_PATH_STYLE" .Values.storage.pathStyle }}{{ end -}}
{{- if .Values.kubernetes.enabled -}}
{{- with .Values.kubernetes.namespaces }}{{ $_ := set $settings "RAY_HISTORY_KUBERNETES_NAMESPACES" (join "," .) }}{{ end -}}
{{- $_ := set $settings "RAY_HISTORY_DASHBOARD_ACCESS" .Values.kubernetes.dashboardAccess -}}
{{- $_ := set $settings "RAY_HISTORY_PROXY_METHODS" (join "," .Values.kubernetes.proxyMethods) -}}
{{- end -}}
{{- with .Values.auth -}}
{{- $_ := set $settings "RAY_HISTORY_AUTH" .mode -}}
{{- with .proxies }}{{ $_ := set $settings "RAY_HISTORY_AUTH_PROXIES" (join "," .) }}{{ end -}}
{{- if .rightsSecret }}{{ $_ := set $settings "RAY_HISTORY_AUTH_FILE" "/etc/ray-history/rights.toml" }}{{ end -}}
{{- if eq .mode "oidc" -}}
{{- $_ := set $settings "RAY_HISTORY_OIDC_ISSUER" (required "auth.oidc.issuer is needed for auth.mode: oidc" .oidc.issuer) -}}
{{- $_ := set $settings "RAY_HISTORY_OIDC_CLIENT_ID" (required "auth.oidc.clientId is needed for auth.mode: oidc" .oidc.clientId) -}}
{{- if not .oidc.publicClient }}{{ $_ := set $settings "RAY_HISTORY_OIDC_CLIENT_SECRET_FILE" "/etc/ray-history/client-secret" }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if .Values.hostNames -}}
{{- $service := printf "%s-api" (include "rhs.fullname" .) -}}
{{- $names := concat .Values.hostNames (list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace)) -}}
{{- if .Values.api.ingress.enabled }}{{ range .Values.api.ingress.hosts }}{{ $names = append $names .host }}{{ end }}{{ end -}}
{{- $_ := set $settings "RAY_HISTORY_HOST_NAMES" (join "," (uniq $names)) -}}
{{- end -}}
{{- range $name, $value := merge (deepCopy .Values.settings) $settings }}
{{ $name }}: {{ if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}{{ else }}{{ $value | quote }}{{ end }}
{{- end -}}
{{- end -}}
