import Config

if config_env() == :prod do
  config :libcluster,
    topologies: [
      beam: [
        strategy: Cluster.Strategy.Kubernetes.DNSSRV,
        config: [
          # The headless Service, where it is, and what stands before the @ in RELEASE_NODE.
          service: "beam",
          namespace: "default",
          application_name: "beam",
          polling_interval: 5_000
        ]
      ]
    ]
end
