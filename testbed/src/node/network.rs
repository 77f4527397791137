//! The network between nodes, in their common namespace: a bridge, and a cable from it to each node.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context, ensure};

use crate::inside::ensure_inside;

/// The address at which Pods and nodes reach what runs beside the nodes, such as the API server.
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The address and port of the registry.
pub const REGISTRY: &str = "172.30.0.1:5000";
/// From where nodes and Pods call.
pub const NETWORKS: [&str; 2] = ["172.30.0.0/24", PODS];
/// The addresses of all Pods.
pub(super) const PODS: &str = "10.244.0.0/16";
/// The address of the name server that Pods use.
pub(super) const DNS: &str = "10.96.0.10";

/// The addresses of one node's Pods.
pub(super) fn pods_of(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

pub(super) fn address_of(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + number)
}

/// The node's network namespace, and the name of its end of the cable outside.
pub(super) fn name_of(number: u8) -> String {
    format!("node-{number}")
}

fn cable_of(number: u8) -> String {
    format!("cable-{number}")
}

/// Makes a network namespace for the node and connects it to the bridge.
pub(super) fn connect(number: u8) -> anyhow::Result<()> {
    let (node, cable, address) = (name_of(number), cable_of(number), address_of(number).to_string());
    ip(&["netns", "add", &node])?;
    ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &node])?;
    ip(&["link", "set", &cable, "master", "node0", "up"])?;
    ip(&["-n", &node, "link", "set", "lo", "up"])?;
    ip(&["-n", &node, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
    ip(&["-n", &node, "link", "set", "eth0", "up"])?;
    ip(&["-n", &node, "route", "add", "default", "via", &HOST.to_string()])?;
    ip(&["route", "replace", &pods_of(number), "via", &address])
}

/// Removes the cable and the namespace. The namespace stays until its last process is gone.
pub(super) fn disconnect(number: u8) -> anyhow::Result<()> {
    ip(&["link", "delete", &cable_of(number)])?;
    ip(&["netns", "delete", &name_of(number)])
}

/// Pulls the plug out, or puts it back.
pub(super) fn plug(number: u8, state: &str) -> anyhow::Result<()> {
    ip(&["link", "set", &cable_of(number), state])
}

/// Makes a port of loopback reachable for Pods and nodes at [`HOST`], with the same port number.
pub fn expose(port: u16) -> anyhow::Result<()> {
    ensure_inside()?;
    let (host, port) = (HOST.to_string(), port.to_string());
    let to = format!("127.0.0.1:{port}");
    let rule = ["-t", "nat", "-I", "PREROUTING", "-d", &host, "-p", "tcp", "--dport", &port, "-j", "DNAT", "--to", &to];
    run("iptables", &rule)
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
