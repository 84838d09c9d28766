//! The manifests of packaging/kubernetes: what is in them fits together, and their files are right.
//! tests/run holds them against the schema of Kubernetes.

use std::fs;

use serde_json::{Value, json};
use tunneld_lab::keys::generate;
use tunneld_lab::process::run;

use crate::manual_page::repository;
use crate::support::{assert_exit, command, tunneld};

/// Reads YAML of several documents, as JSON.
const TO_JSON: &str =
    "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";

const MANIFESTS: [&str; 2] = ["bastion.yaml", "publish.yaml"];

/// A manifest: its documents.
pub(crate) struct Manifest(Vec<Value>);

impl Manifest {
    pub(crate) fn read(name: &str) -> Self {
        let path = repository().join("packaging/kubernetes").join(name);
        // Debian's own: it has python3-yaml.
        let mut python = command("/usr/bin/python3");
        let json = run(python.args(["-c", TO_JSON]).arg(path));
        Manifest(serde_json::from_str(&json).unwrap())
    }

    fn of_kind(&self, kind: &str) -> &Value {
        let mut found = self.0.iter().filter(|document| document["kind"] == kind);
        found.next().unwrap_or_else(|| panic!("no {kind}"))
    }

    /// A file of the ConfigMap.
    pub(crate) fn file(&self, name: &str) -> String {
        let file = self.of_kind("ConfigMap")["data"][name].as_str();
        file.unwrap_or_else(|| panic!("no file {name}")).to_owned()
    }

    fn pod(&self) -> &Value {
        &self.of_kind("Deployment")["spec"]["template"]["spec"]
    }

    fn container(&self) -> &Value {
        &self.pod()["containers"][0]
    }

    /// The number of a port of the container.
    fn port(&self, name: &str) -> u64 {
        let ports = list(&self.container()["ports"]);
        let port = ports.iter().find(|port| port["name"] == name);
        let port = port.unwrap_or_else(|| panic!("no port {name}"));
        port["containerPort"].as_u64().unwrap()
    }

    /// The volume that is mounted there.
    fn mounted(&self, at: &str) -> &Value {
        let mounts = list(&self.container()["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["mountPath"] == at);
        let name = &mount.unwrap_or_else(|| panic!("nothing at {at}"))["name"];
        let mut volumes = list(&self.pod()["volumes"]).iter();
        volumes.find(|volume| &volume["name"] == name).unwrap()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn the_files_of_the_manifests_are_right() {
    // `check` has nothing to say but that nobody has written known_hosts yet.
    for name in MANIFESTS {
        let manifest = Manifest::read(name);
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        generate(at, "id_ed25519");
        fs::write(at.join("known_hosts"), manifest.file("known_hosts")).unwrap();
        let moved = at.display().to_string();
        let config = manifest.file("tunneld.toml");
        let config = config.replace("/run/secrets/tunneld", &moved);
        let config = config.replace("/etc/tunneld", &moved);
        fs::write(at.join("tunneld.toml"), config).unwrap();
        let checked = tunneld(&["check", &format!("{moved}/tunneld.toml")]);
        assert_exit(&checked, 0);
    }
}

#[test]
fn ports_probes_volumes_and_labels_of_the_manifests_fit_together() {
    for name in MANIFESTS {
        let manifest = Manifest::read(name);
        let config = manifest.file("tunneld.toml");
        let container = manifest.container();
        let metrics = format!("metrics_listen = \"0.0.0.0:{}\"", manifest.port("metrics"));
        assert!(config.contains(&metrics), "{name}: {metrics}");
        for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{name}");
            assert_eq!(container[probe]["httpGet"]["port"], "metrics", "{name}");
        }
        let map = manifest.of_kind("ConfigMap");
        let volume = manifest.mounted("/etc/tunneld");
        assert_eq!(volume["configMap"]["name"], map["metadata"]["name"]);
        // The secret is made by the command in the head of the file, and has the file that is named.
        let text = repository().join("packaging/kubernetes").join(name);
        let text = fs::read_to_string(text).unwrap();
        let secret = &manifest.mounted("/run/secrets/tunneld")["secret"];
        let made = secret["secretName"].as_str().unwrap();
        let made = format!("kubectl create secret generic {made} --from-file=id_ed25519\n");
        assert!(text.contains(&made), "{name}: {made}");
        assert!(config.contains("\"/run/secrets/tunneld/id_ed25519\""));
        assert_eq!(secret["defaultMode"], 0o400);
        let labels = &manifest.of_kind("Deployment")["spec"]["template"]["metadata"]["labels"];
        let selector = &manifest.of_kind("Deployment")["spec"]["selector"]["matchLabels"];
        assert_eq!(labels, selector, "{name}");
    }
    let manifest = Manifest::read("bastion.yaml");
    let service = &manifest.of_kind("Service")["spec"];
    let labels = &manifest.of_kind("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&service["selector"], labels);
    let ports = list(&service["ports"]);
    assert_eq!((ports.len(), &ports[0]["targetPort"]), (1, &json!("db")));
    let listen = format!("listen = \"0.0.0.0:{}\"", manifest.port("db"));
    assert!(manifest.file("tunneld.toml").contains(&listen));
}
