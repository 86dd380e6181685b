{{/* Names and labels of all objects. */}}

{{- define "podzone.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's where that is not in it. */}}
{{- define "podzone.fullname" -}}
{{- $name := include "podzone.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "podzone.deploymentName" -}}
{{- default (include "podzone.fullname" .) .Values.deployment.name -}}
{{- end -}}

{{- define "podzone.serviceAccountName" -}}
{{- default (ternary (include "podzone.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "podzone.clusterRoleName" -}}
{{- default (include "podzone.fullname" .) .Values.clusterRole.nameOverride -}}
{{- end -}}

{{- define "podzone.k8sApp" -}}
{{- default .Chart.Name .Values.k8sAppLabelOverride -}}
{{- end -}}

{{/* What selects the pods of this release, and no other's. */}}
{{- define "podzone.selector" -}}
app.kubernetes.io/name: {{ include "podzone.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of every object. Without k8s-app: `kubeadm upgrade` fails where two Deployments have `k8s-app: kube-dns`. */}}
{{- define "podzone.labels" -}}
{{ include "podzone.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | replace ":" "-" | replace "@" "_" | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object; takes the root, its name, more labels and its own annotations. */}}
{{- define "podzone.metadata" -}}
{{- $annotations := merge (dict) (default (dict) .annotations) .root.Values.customAnnotations -}}
name: {{ .name }}
{{- if .namespace }}
namespace: {{ .namespace }}
{{- end }}
labels:
  {{- include "podzone.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
