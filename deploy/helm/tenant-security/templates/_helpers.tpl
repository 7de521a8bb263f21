{{- define "ts.name" -}}{{ printf "%s-%s" .root.Release.Name .program | trunc 63 | trimSuffix "-" }}{{- end }}

{{- define "ts.labels" -}}
app.kubernetes.io/name: tenant-security
app.kubernetes.io/component: {{ .program }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "ts.selector" -}}
app.kubernetes.io/name: tenant-security
app.kubernetes.io/component: {{ .program }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "ts.brokerUrl" -}}
{{- if .Values.brokerUrl }}{{ .Values.brokerUrl }}{{ else if .Values.broker.enabled }}http://{{ include "ts.name" (dict "root" . "program" "broker") }}:8080{{ else }}{{ fail "brokerUrl is needed where broker.enabled is false" }}{{ end }}
{{- end }}

{{- define "ts.pod" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 60
securityContext: {{ toYaml .root.Values.podSecurityContext | nindent 2 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "ts.selector" . | nindent 8 }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "ts.container" -}}
name: {{ .program }}
image: {{ printf "%s/tenant-security-%s:%s" .root.Values.image.registry .program (.root.Values.image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  - secretRef: {name: {{ .values.secret }}}
resources: {{ toYaml .values.resources | nindent 2 }}
lifecycle:
  preStop:
    # The pod leaves the endpoints while it still serves; the program's own drain comes after.
    exec: {command: ["/opt/tenant-security/bin/python", "-c", "import time; time.sleep(5)"]}
startupProbe:
  httpGet: {path: /live, port: {{ .probe }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /live, port: {{ .probe }}}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: {{ .probe }}}
  periodSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "ts.env" -}}
{{- range $name, $value := .values.env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}
