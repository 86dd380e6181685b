{{/* The Corefile of `servers`, and what follows from it: ports and rights. */}}

{{- define "podzone.corefile" -}}
{{- range $name, $config := .Values.extraConfig }}
{{- printf "%s %s" $name (include "podzone.word" $config.parameters) | trim }}
{{ end }}
{{- range $server := .Values.servers }}
{{- $port := include "podzone.port" $server }}
{{- range default (list (dict "zone" ".")) $server.zones }}
{{- .scheme }}{{ default "." .zone }}:{{ $port }} {{ end }}{
{{- range $server.plugins }}
    {{ printf "%s %s" .name (include "podzone.word" .parameters) | trim }}
{{- with .configBlock }} {
{{ . | trimSuffix "\n" | indent 8 }}
    }
{{- end }}
{{- end }}
}
{{ end }}
{{- end -}}

{{/* A number without an exponent: YAML's numbers come as floats. */}}
{{- define "podzone.word" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ default "" . }}{{- end -}}
{{- end -}}

{{- define "podzone.port" -}}
{{- int (default 53 .port) -}}
{{- end -}}

{{/* The ports that DNS is served on, as JSON. Those of the first server are called as in deploy/kustomize. */}}
{{- define "podzone.dnsPorts" -}}
{{- $ports := list -}}
{{- $tcp := dict -}}
{{- range $server := .Values.servers -}}
  {{- $port := include "podzone.port" $server -}}
  {{- range default (list (dict)) $server.zones -}}
    {{- if ne .use_tcp false }}{{ $_ := set $tcp $port true }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $server := .Values.servers -}}
  {{- $port := include "podzone.port" $server -}}
  {{- if not (hasKey $seen $port) -}}
    {{- $isFirst := empty $seen -}}
    {{- $_ := set $seen $port true -}}
    {{- $of := dict "port" (int $port) "servicePort" (int (default $port $server.servicePort)) "nodePort" $server.nodePort "hostPort" $server.hostPort -}}
    {{- $ports = append $ports (merge (dict "protocol" "UDP" "name" (ternary "dns" (printf "udp-%s" $port) $isFirst)) $of) -}}
    {{- if hasKey $tcp $port -}}
      {{- $ports = append $ports (merge (dict "protocol" "TCP" "name" (ternary "dns-tcp" (printf "tcp-%s" $port) $isFirst)) $of) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* The port of `health`, `ready` or `prometheus`, where it can be reached from outside the pod; else nothing. Takes the root,
the directive's name and its default address. */}}
{{- define "podzone.adminPort" -}}
{{- $found := "" -}}
{{- $name := .name -}}
{{- $default := .default -}}
{{- range .root.Values.servers -}}
  {{- range .plugins -}}
    {{- if eq .name $name -}}
      {{- $address := default $default (include "podzone.word" .parameters) -}}
      {{- if not (regexMatch "^(localhost|127[.]|\\[::1\\])" $address) -}}
        {{- $found = regexFind "[0-9]+$" $address -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{- define "podzone.healthPort" -}}
{{- include "podzone.adminPort" (dict "root" . "name" "health" "default" ":8080") -}}
{{- end -}}

{{- define "podzone.readyPort" -}}
{{- include "podzone.adminPort" (dict "root" . "name" "ready" "default" ":8181") -}}
{{- end -}}

{{- define "podzone.metricsPort" -}}
{{- include "podzone.adminPort" (dict "root" . "name" "prometheus" "default" "localhost:9153") -}}
{{- end -}}

{{/* Something if a server has this directive with a block in which this pattern is; takes the root, name and pattern. */}}
{{- define "podzone.says" -}}
{{- $name := .name -}}
{{- $pattern := .pattern -}}
{{- range .root.Values.servers -}}
  {{- range .plugins -}}
    {{- if and (eq .name $name) (regexMatch $pattern (default "" .configBlock)) -}}true{{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "podzone.watchesPods" -}}
{{- if .Values.rbac.podsEnable -}}true{{- end -}}
{{- include "podzone.says" (dict "root" . "name" "kubernetes" "pattern" "(?m)^\\s*(pods\\s+verified|endpoint_pod_names\\s.*\\bhostname)\\b") -}}
{{- end -}}

{{- define "podzone.watchesImports" -}}
{{- if .Values.rbac.multiclusterEnable -}}true{{- end -}}
{{- include "podzone.says" (dict "root" . "name" "kubernetes" "pattern" "(?m)^\\s*multicluster\\s") -}}
{{- end -}}

{{/* Something if a server has this directive; takes the root and the name. */}}
{{- define "podzone.has" -}}
{{- $name := .name -}}
{{- range .root.Values.servers -}}
  {{- range .plugins -}}
    {{- if eq .name $name -}}true{{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
