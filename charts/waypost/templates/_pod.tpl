{{- /* What the pods of the Deployment and of the uninstalling Job have in common: restricted, and placed alike. */ -}}
{{- define "waypost.pod" -}}
serviceAccountName: {{ include "waypost.serviceaccount" . }}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "waypost.container" -}}
image: {{ include "waypost.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: WAYPOST_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - {name: WAYPOST_STATE_DIR, value: /var/lib/waypost/state} # a folder of its own: an emptyDir is not 0700
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: state, mountPath: /var/lib/waypost}
  - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "waypost.volumes" -}}
- name: state
  emptyDir: {sizeLimit: {{ .Values.state.sizeLimit }}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- end -}}
