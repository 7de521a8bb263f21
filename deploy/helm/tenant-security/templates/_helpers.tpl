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
{{- if .Values.brokerUrl }}{{ .Values.brokerUrl }}{{ else if .Values.broker.enabled }}{{ if .Values.broker.tls.secret }}https{{ else }}http{{ end }}://{{ include "ts.name" (dict "root" . "program" "broker") }}:8080{{ else }}{{ fail "brokerUrl is needed where broker.enabled is false" }}{{ end }}
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
{{- $scheme := "" }}
{{- if and (eq .program "bridge") .values.tls.secret }}{{ $scheme = ", scheme: HTTPS" }}{{ end }}
startupProbe:
  httpGet: {path: /live, port: {{ .probe }}{{ $scheme }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /live, port: {{ .probe }}{{ $scheme }}}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: {{ .probe }}{{ $scheme }}}
  periodSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "ts.env" -}}
{{- range $name, $value := .values.env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{- /* A certificate on the program's own ports: .prefix is that of its settings. */}}
{{- define "ts.tlsEnv" -}}
{{- if .values.tls.secret }}
- {name: {{ .prefix }}_TLS_CERTIFICATE_FILE, value: /tls/tls.crt}
- {name: {{ .prefix }}_TLS_KEY_FILE, value: /tls/tls.key}
{{- if .values.tls.clientCertificates }}
- {name: {{ .prefix }}_TLS_CLIENT_CA_FILE, value: /tls/ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{- define "ts.tlsMount" -}}
{{- if .values.tls.secret }}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "ts.tlsVolume" -}}
{{- if .values.tls.secret }}
- name: tls
  secret: {secretName: {{ .values.tls.secret }}, defaultMode: 288}
{{- end }}
{{- end }}

{{- /* Who signs the broker's certificate, for those that ask it. */}}
{{- define "ts.brokerCaEnv" -}}
{{- if .root.Values.brokerCaSecret }}
- {name: CONFIG_BROKER_CA_FILE, value: /broker-ca/ca.crt}
{{- end }}
{{- end }}

{{- define "ts.brokerCaMount" -}}
{{- if .root.Values.brokerCaSecret }}
- {name: broker-ca, mountPath: /broker-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "ts.brokerCaVolume" -}}
{{- if .root.Values.brokerCaSecret }}
- name: broker-ca
  secret:
    secretName: {{ .root.Values.brokerCaSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
