{{/* HorizontalPodAutoscaler and PodDisruptionBudget of one Deployment; (dict "root" $ "who" "api" "values" .Values.api). */}}
{{- define "rhs.scaling" -}}
{{- $name := printf "%s-%s" (include "rhs.fullname" .root) .who -}}
{{- if .values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels: {{- include "rhs.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .who }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $name }}}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .values.autoscaling.targetCPUUtilizationPercentage }}}
{{- end }}
{{- if .values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels: {{- include "rhs.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .who }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- include "rhs.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .who }}
{{- end }}
{{- end -}}

{{/* Ingress of one Service. */}}
{{- define "rhs.ingress" -}}
{{- $name := printf "%s-%s" (include "rhs.fullname" .root) .who -}}
{{- $values := .values -}}
{{- if .values.ingress.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ $name }}
  labels: {{- include "rhs.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .who }}
  {{- with .values.ingress.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .values.ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .values.ingress.tls }}
  tls: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range (required "ingress.hosts is needed when the ingress is enabled" .values.ingress.hosts) }}
    - host: {{ .host | quote }}
      http:
        paths:
          - path: {{ .path | default "/" }}
            pathType: Prefix
            backend:
              service: {name: {{ $name }}, port: {name: http}}
    {{- end }}
{{- end }}
{{- end -}}
