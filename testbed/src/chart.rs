//! The operator as its Helm chart installs it: the chart's objects on the real API server, and the binary as a process.
//! The process has the arguments, environment and service account of a Pod of the Deployment.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    base::{NAMESPACE, SERVICE_ACCOUNT},
    control_plane::ControlPlane,
    helm::Helm,
    operator::Operator,
};

/// The chart's source.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/sessionkill-operator")
}

/// What is installed.
#[derive(Clone, Debug)]
pub struct Release {
    /// The container of its Deployment.
    pod: Value,
}

impl Release {
    /// The name of the release, and so the prefix of its objects.
    pub const NAME: &str = SERVICE_ACCOUNT;

    /// Installs the chart with these values into its own namespace. The namespaces to work in must exist.
    pub async fn install(helm: &Helm, control_plane: &ControlPlane, values: &Value) -> anyhow::Result<Self> {
        let file = control_plane.kubeconfig().with_file_name("values.json");
        fs::write(&file, values.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        let (chart, file) = (directory(), file.to_string_lossy().into_owned());
        let chart = chart.to_str().context("helm needs a path in UTF-8")?;
        let install = ["install", Self::NAME, chart, "--namespace", NAMESPACE, "--create-namespace", "--values", &file];
        helm.run(Some(control_plane.kubeconfig()), &install).await?;
        Self::installed(control_plane).await
    }

    /// A release that is installed already, by any version of the chart.
    pub async fn installed(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let get = ["get", "deployment", Self::NAME, "--namespace", NAMESPACE, "-o", "json"];
        let deployment: Value = serde_json::from_str(&control_plane.run_kubectl(&get).await?)?;
        Ok(Self { pod: deployment["spec"]["template"]["spec"].clone() })
    }

    /// Starts `binary` as a Pod of the Deployment would, with its files in `directory`. Does not wait until it is
    /// ready.
    pub async fn start_operator(
        &self,
        control_plane: &ControlPlane,
        binary: &Path,
        directory: &Path,
    ) -> anyhow::Result<Operator> {
        let account = self.pod["serviceAccountName"].as_str().context("the Pod has no service account")?;
        let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, account).await?;
        let pod = directory.file_name().map_or_else(|| Self::NAME.into(), |name| name.to_string_lossy());
        let mut line = self.command_line(binary, &pod)?;
        for (mount_path, volume) in self.mount(control_plane, directory).await? {
            line = line.iter().map(|word| word.replace(&mount_path, &volume)).collect();
        }
        Operator::start(Path::new("env"), &kubeconfig, directory, &line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Writes the content of the mounted `ConfigMap`s below `directory`. Returns for each its path in the container and
    /// its path here.
    async fn mount(&self, control_plane: &ControlPlane, directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
        let mut mounted = vec![];
        for volume in self.pod["volumes"].as_array().into_iter().flatten() {
            let (name, source) = (volume["name"].as_str().unwrap_or_default(), &volume["configMap"]);
            let map = source["name"].as_str().with_context(|| format!("the testbed cannot mount {volume}"))?;
            let get = ["get", "configmap", map, "--namespace", NAMESPACE, "-o", "json"];
            let map: Value = serde_json::from_str(&control_plane.run_kubectl(&get).await?)?;
            let place = directory.join("volumes").join(name);
            fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
            for item in source["items"].as_array().into_iter().flatten() {
                let [key, path] = ["key", "path"].map(|field| item[field].as_str().unwrap_or_default());
                let text = map["data"][key].as_str().with_context(|| format!("the ConfigMap has no key {key}"))?;
                fs::write(place.join(path), text).with_context(|| format!("cannot write to {}", place.display()))?;
            }
            let mut mounts = self.pod["containers"][0]["volumeMounts"].as_array().into_iter().flatten();
            let mount = mounts.find(|mount| mount["name"] == name).context("a volume is not mounted")?;
            let mount_path = mount["mountPath"].as_str().context("a mount has no path")?;
            mounted.push((mount_path.to_owned(), place.to_string_lossy().into_owned()));
        }
        Ok(mounted)
    }

    /// The arguments of `env`: the variables, the program and its arguments.
    fn command_line(&self, binary: &Path, pod: &str) -> anyhow::Result<Vec<String>> {
        let container = &self.pod["containers"][0];
        let variables = environment(container, pod)?;
        let arguments = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let arguments = arguments.map(|argument| expanded(argument, &variables));
        let set = variables.iter().map(|(name, value)| format!("{name}={value}"));
        Ok(set.chain([binary.to_string_lossy().into_owned()]).chain(arguments).collect())
    }
}

/// The container's variables, as a kubelet would set them.
fn environment(container: &Value, pod: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable has no name")?;
        let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
        let value = match (variable["value"].as_str(), field) {
            (Some(value), _) => value,
            (None, Some("metadata.name")) => pod,
            (None, Some("metadata.namespace")) => NAMESPACE,
            _ => bail!("the testbed cannot tell the value of {variable}"),
        };
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by the value of the variable.
fn expanded(argument: &str, variables: &BTreeMap<String, String>) -> String {
    variables.iter().fold(argument.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_binary_is_run_as_a_kubelet_would() {
        let field = |path| json!({"fieldRef": {"fieldPath": path}});
        let pod = json!({"containers": [{
            "args": ["run", "--leader-election-namespace=$(POD_NAMESPACE)"],
            "env": [
                {"name": "POD_NAME", "valueFrom": field("metadata.name")},
                {"name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace")},
                {"name": "RUST_LOG", "value": "info"},
            ],
        }]});
        let line = Release { pod }.command_line(Path::new("/operator"), "pod-1").unwrap();
        let expected = ["POD_NAME=pod-1", "POD_NAMESPACE=sessionkill-system", "RUST_LOG=info", "/operator", "run"];
        assert_eq!(line[..5], expected);
        assert_eq!(line[5], "--leader-election-namespace=sessionkill-system");
        let secret = json!({"containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {}}}]}]});
        assert!(Release { pod: secret }.command_line(Path::new("/operator"), "pod-1").is_err());
    }
}
