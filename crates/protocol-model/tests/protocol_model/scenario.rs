//! The scenarios: which requests there are, and what users do with them.

use super::choosing::choosing_one;
use super::model::Checked;
use super::operator::Operator;
use super::protocol::Protocol;
use super::time::{ALL_MOMENTS, FEW_MOMENTS, GROUP_MOMENTS, ORPHANED, SKEW};
use super::world::{Backend, Clocks, Request, Trouble, World, request};

/// Two requests of one tenant.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// One request.
    Single,
    /// One request that may be deleted at any time. Its content may then be applied again under the same name.
    Recreated,
    /// The same content under two names.
    Twins,
    /// Two requests with different content that share a call.
    Group,
    /// One request for two sessions, by SQL. Its call may end before the second session.
    OneInOrder,
    /// Two requests that share a call by SQL: the first one names two sessions, the second one another.
    TwoInOrder,
    /// The same, but the session of the second request is also the last one of the first.
    SameInOrder,
    /// One request that chooses one session, of two that match at times.
    Chosen,
    /// The same content under two names.
    ChosenTwice,
}

/// The possible clock differences: none, or some clocks ahead of the others by the bound of 5 s. The two operators are
/// alike, so it does not matter which one is ahead.
pub(crate) const ALL_CLOCKS: &[Clocks] = &[
    Clocks { operators: [0, 0], gateway: 0 },
    Clocks { operators: [0, SKEW], gateway: 0 },
    Clocks { operators: [0, SKEW], gateway: SKEW },
    Clocks { operators: [0, 0], gateway: SKEW },
    Clocks { operators: [SKEW, SKEW], gateway: 0 },
];

/// One operator's clock is ahead by 3600 s, far more than the bound.
pub(crate) const A_CLOCK_FAR_OFF: &[Clocks] = &[Clocks { operators: [0, 3600], gateway: 0 }];

impl Scenario {
    /// The sessions of each request.
    fn sessions(self) -> [&'static [usize]; 2] {
        match self {
            Self::Single | Self::Recreated | Self::Twins => [&[0], &[0]],
            Self::Group => [&[0], &[1]],
            Self::OneInOrder | Self::Chosen | Self::ChosenTwice => [&[0, 1], &[0, 1]],
            Self::TwoInOrder => [&[0, 1], &[2]],
            Self::SameInOrder => [&[0, 1], &[1]],
        }
    }

    /// Whether sessions are chosen by a selector.
    pub(crate) fn chooses(self) -> bool {
        matches!(self, Self::Chosen | Self::ChosenTwice)
    }

    /// Whether sessions are ended by SQL.
    pub(crate) fn is_in_order(self) -> bool {
        matches!(self, Self::OneInOrder | Self::TwoInOrder | Self::SameInOrder)
    }

    /// This scenario with the shipped protocol and without clock differences.
    pub(crate) fn with(self, faults: u8, attempts: u8) -> Checked {
        Checked {
            protocol: Protocol::SHIPPED,
            scenario: self,
            moments: match self {
                Self::Single => ALL_MOMENTS,
                Self::Recreated | Self::Twins => FEW_MOMENTS,
                Self::Group => GROUP_MOMENTS,
                Self::OneInOrder | Self::TwoInOrder | Self::SameInOrder | Self::Chosen | Self::ChosenTwice => ORPHANED,
            },
            clocks: &ALL_CLOCKS[..1],
            faults,
            attempts,
        }
    }
}

/// The initial worlds of a run: one for each clock difference.
pub(crate) fn worlds(model: &Checked) -> Vec<World> {
    model.clocks.iter().map(|clocks| world(model, *clocks)).collect()
}

fn world(model: &Checked, clocks: Clocks) -> World {
    let sessions = model.scenario.sessions();
    let empty = |sessions| Request {
        sessions,
        receipt_name: "".into(),
        is_created: false,
        object: None,
        versions: vec![],
        end: None,
    };
    let mut world = World {
        moments: model.moments,
        now: 0,
        clocks,
        requests: sessions.map(empty),
        receipts: vec![],
        sessions: [true; 3],
        backend: if model.scenario.is_in_order() { Backend::Server } else { Backend::Gateway },
        network: vec![],
        posts: vec![],
        trouble: Trouble::None,
        operators: [Operator::default(), Operator::default()],
        executions: vec![],
        is_overwritten: false,
        refused_together: vec![],
        is_fence_given_up: false,
        faults: model.faults,
        attempts: model.attempts,
    };
    let made = |name, uid, sessions| {
        let made = request(name, uid, sessions, 0);
        if model.scenario.chooses() { choosing_one(made) } else { made }
    };
    world.create(0, made("incident", "uid-1", sessions[0]));
    let is_alone =
        matches!(model.scenario, Scenario::Single | Scenario::Recreated | Scenario::OneInOrder | Scenario::Chosen);
    if !is_alone {
        let mut twin = made("twin", "uid-2", sessions[1]);
        twin.spec.ttl_seconds_after_finished = Some(0);
        world.create(1, twin);
    }
    world
}

/// Whether a user may delete the first request. It has no finalizer.
pub(crate) fn may_delete(scenario: Scenario, world: &World) -> bool {
    scenario == Scenario::Recreated && world.requests[0].object.is_some()
}

/// Whether the content of the first request may be applied again. The object must be gone.
pub(crate) fn may_create(scenario: Scenario, world: &World) -> bool {
    scenario == Scenario::Recreated && world.requests[0].object.is_none() && !world.requests[1].is_created
}

/// Applies it again: same name, new UID.
pub(crate) fn create_again(world: &mut World) {
    world.create(1, request("incident", "uid-2", &[0], world.moments[world.now]));
}
