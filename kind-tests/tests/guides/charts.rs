//! The charts that the pages release.

use registries::tar_gz;

/// A file below `templates`, and its text.
pub(crate) type Template = (&'static str, &'static str);

/// The templates of `orders`, as `helm create` lays them out.
pub(crate) const ORDERS: &[Template] = &[
    (
        "deployment.yaml",
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-api
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicaCount }}
  {{- end }}
  selector:
    matchLabels: {app: {{ .Release.Name }}-api}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}-api}
    spec:
      containers:
      - name: api
        image: {{ .Values.image.repository }}:{{ .Values.image.tag }}
        resources: {{- toYaml .Values.resources | nindent 10 }}
",
    ),
    (
        "ingress.yaml",
        "{{- if .Values.ingress.enabled }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .Release.Name }}
spec:
  ingressClassName: {{ .Values.ingress.className }}
  rules:
  {{- range .Values.ingress.hosts }}
  - host: {{ .host }}
    http:
      paths:
      {{- range .paths }}
      - path: {{ .path }}
        pathType: {{ .pathType }}
        backend: {service: {name: {{ $.Release.Name }}, port: {number: 80}}}
      {{- end }}
  {{- end }}
{{- end }}
",
    ),
    (
        "hpa.yaml",
        "{{- with .Values.autoscaling }}
{{- if .enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $.Release.Name }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $.Release.Name }}-api}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .targetCPUUtilizationPercentage }}}}
{{- end }}
{{- end }}
",
    ),
    (
        "tests/check.yaml",
        "apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-check
  annotations: {helm.sh/hook: test}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: check, image: registry.example.com/shop/check:1}]
",
    ),
];

/// The templates of `stock`.
pub(crate) const STOCK: &[Template] = &[(
    "all.yaml",
    "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  mode: {{ .Values.mode }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}
stringData:
  password: {{ .Values.password }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicaCount }}
  selector:
    matchLabels: {app: {{ .Release.Name }}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
    spec:
      containers: [{name: stock, image: registry.example.com/shop/stock:1}]
",
)];

/// The templates of what others depend on.
pub(crate) const SMALL: &[Template] = &[(
    "map.yaml",
    "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  version: {{ .Chart.Version }}
",
)];

/// The templates of `metrics`.
pub(crate) const METRICS: &[Template] = &[(
    "secret.yaml",
    "apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}
stringData:
  password: {{ .Values.admin.password }}
",
)];

/// A packaged chart.
pub(crate) fn chart(name: &str, version: &str, templates: &[Template]) -> Vec<u8> {
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let mut files = vec![(format!("{name}/Chart.yaml"), metadata)];
    for (path, text) in templates {
        files.push((format!("{name}/templates/{path}"), (*text).to_owned()));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    tar_gz(&files)
}
