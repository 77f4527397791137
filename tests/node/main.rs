//! The operator as users run it: Pods of its image, installed by its chart, on two real nodes with kubelet and
//! containerd.
//!
//! The nodes need their own namespaces of the kernel, so this program runs itself again inside of them. It has its own
//! harness, because the standard one cannot do that. On a machine that cannot run nodes, all tests are ignored, and a
//! line says why. `SESSIONKILL_NODES=required` makes that a failure, and `SESSIONKILL_NODES=skip` skips the tests.
//! `SESSIONKILL_NODE_IMAGE` names the image, an OCI layout as `testbed image` writes it. Without it, the image has the
//! operator of this source tree, built for tests. Tests that take 10 minutes run only with `--ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod availability;
mod calls;
mod disruption;
mod ground;
mod installation;
mod mounted;
mod names;
mod policies;
mod release;
mod spread;
mod sql;
mod work;

use std::{process::ExitCode, sync::LazyLock};

use libtest_mimic::{Arguments, Trial};
use testbed::{
    node::{self, Entered, Wanted},
    oceanbase,
    stack::{self, Sessions},
};
use tokio::runtime::Runtime;

use crate::ground::Ground;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// The most tests at once. Tests of the shared release run one at a time. The other threads are for tests with a
/// release of their own, and for tests that only wait for a result.
const THREADS: usize = 8;

/// The order of the tests. The first one checks a new installation. Then come those with a release of their own, which
/// need both nodes, and those with long waits. Tests that take a node away come late. The last one leaves another
/// installation behind.
macro_rules! trials {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$(trial(concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*]
    };
}

fn trials() -> Vec<Trial> {
    let mut all = trials![
        installation::helm_installs_it_available_into_a_namespace_of_restricted_pods,
        mounted::a_token_that_is_rotated_is_used_without_a_restart,
        spread::replicas_are_on_two_nodes_with_and_without_zones,
        mounted::a_log_filter_of_a_config_map_is_followed,
        sql::a_session_is_ended_by_sql_through_a_service_and_tls,
        work::a_pod_that_is_deleted_while_it_starts_ends_at_once,
        work::a_session_is_killed_through_the_pods_and_is_gone_from_the_list,
        policies::a_network_policy_lets_the_operator_work_and_nobody_else_in,
        work::a_container_that_is_killed_loses_and_doubles_no_kill,
        installation::helm_test_passes,
        installation::an_upgrade_from_the_chart_before_finishes_the_call_in_flight,
        work::a_container_without_memory_loses_and_doubles_no_kill,
        names::names_that_are_not_found_are_found_later_and_nothing_is_lost,
        work::a_rollout_restart_finishes_the_call_in_flight_once_and_records_it,
        work::a_namespace_is_deleted_under_load,
        disruption::a_drain_leaves_one_replica_at_any_time,
        disruption::a_leader_whose_node_is_cut_off_is_followed_and_repeats_nothing,
        installation::uninstalled_it_leaves_requests_and_installed_again_it_ends_them,
        installation::kustomize_installs_it,
    ];
    let long = trials![mounted::a_token_that_expires_is_replaced_without_a_restart];
    all.extend(long.into_iter().map(|trial| trial.with_ignored_flag(true)));
    all
}

fn trial<F: Future<Output = ()> + 'static>(name: &str, test: fn(&'static Ground) -> F) -> Trial {
    Trial::test(name, move || {
        RUNTIME.block_on(test(ground::ground()));
        Ok(())
    })
}

fn main() -> ExitCode {
    let arguments = Arguments { test_threads: Some(THREADS), ..Arguments::from_args() };
    run(arguments).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list {
        return Ok(libtest_mimic::run(&arguments, trials()).exit_code());
    }
    // The program inside does not check this again.
    if !node::is_inside() {
        if let Some(reason) = why_not(&arguments)? {
            println!("warning: no real node was tried: {reason}");
            return Ok(run_none(arguments));
        }
        // One test has a real engine beside the gateway.
        stack::prepare(Sessions::Memory)?;
        oceanbase::prepare()?;
    }
    match node::enter()? {
        Entered::Inside => run_inside(&arguments),
        Entered::Outside(code) => Ok(code),
    }
}

/// Reports every test as ignored, whatever the arguments say. A test that runs outside would change this machine.
fn run_none(arguments: Arguments) -> ExitCode {
    let ignored = trials().into_iter().map(|trial| trial.with_ignored_flag(true)).collect();
    libtest_mimic::run(&Arguments { ignored: false, include_ignored: false, ..arguments }, ignored).exit_code()
}

fn run_inside(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    RUNTIME.block_on(ground::prepare())?;
    let conclusion = libtest_mimic::run(arguments, trials());
    if conclusion.has_failed() {
        RUNTIME.block_on(ground::explain());
    }
    Ok(conclusion.exit_code())
}

/// Why no node is started, or `None` if nodes are started. An error if nodes are required and cannot run.
fn why_not(arguments: &Arguments) -> anyhow::Result<Option<String>> {
    let is_wanted = |trial: &Trial| !arguments.is_filtered_out(trial) && !arguments.is_ignored(trial);
    if !trials().iter().any(is_wanted) {
        return Ok(Some("none is asked for".into()));
    }
    match Wanted::from_environment()? {
        Wanted::Skip => Ok(Some(format!("{} says so", node::VARIABLE))),
        Wanted::Required => node::check().map(|()| None),
        Wanted::IfPossible => Ok(node::check().err().map(|error| format!("{error:#}"))),
    }
}
