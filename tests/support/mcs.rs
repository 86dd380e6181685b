//! The custom resource of the Multi-Cluster Services API, as far as DNS and an API server's checks need it.

use super::kube::ControlPlane;

/// `serviceimports.multicluster.x-k8s.io`: fields, bounds and words of `sigs.k8s.io/mcs-api` 0.5.2
/// (`pkg/apis/v1alpha1/serviceimport.go`).
pub const SERVICE_IMPORTS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: serviceimports.multicluster.x-k8s.io}
spec:
  group: multicluster.x-k8s.io
  scope: Namespaced
  names: {plural: serviceimports, singular: serviceimport, kind: ServiceImport, listKind: ServiceImportList}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [ports, type]
            properties:
              type: {type: string, enum: [ClusterSetIP, Headless]}
              ips: {type: array, maxItems: 2, items: {type: string}}
              ports:
                type: array
                items:
                  type: object
                  required: [port]
                  properties:
                    name: {type: string}
                    protocol: {type: string}
                    appProtocol: {type: string}
                    port: {type: integer, format: int32}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

/// Installs it, and waits until it is served.
pub fn install(plane: &ControlPlane) {
    plane.apply(SERVICE_IMPORTS);
    let name = "customresourcedefinition/serviceimports.multicluster.x-k8s.io";
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", name], "");
    // Established is what the API server writes before it serves.
    super::wait_for("the API serves ServiceImports", std::time::Duration::from_secs(60), || {
        let list = plane.kubectl(&["get", "--raw=/apis/multicluster.x-k8s.io/v1alpha1", "--request-timeout=5s"], "");
        if list.contains("serviceimports") { Ok(()) } else { Err(list) }
    });
}
