//! The steps that are possible in a world, and their results. Each step is one effect, one fault or one act of a user.

use stateright::Model;

use super::choosing::select;
use super::effect::Effect;
use super::mishaps::{may_arrive, may_edit, troubles};
use super::operator::{Operator, Refusal, Task, observe, take};
use super::properties;
use super::protocol::{Protocol, kind_of};
use super::scenario::Scenario;
use super::world::{Backend, Call, Clocks, Trouble, World};
use super::{calling, claiming, in_order, scenario, sweeping};

/// A scenario, the protocol of the operators, and the faults that may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) protocol: Protocol,
    pub(crate) scenario: Scenario,
    /// The times at which steps are taken, in seconds from the start.
    pub(crate) moments: &'static [i64],
    /// The possible differences between the clocks.
    pub(crate) clocks: &'static [Clocks],
    /// The most faults in one run.
    pub(crate) faults: u8,
    /// The most claims that are tried in one run.
    pub(crate) attempts: u8,
}

/// One step. Operators, tasks, members and requests are given by their numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Time passes. All work that is in progress is paused meanwhile.
    Advance,
    /// A user deletes the first request.
    Delete,
    /// A user or a tool applies the same content again.
    Create,
    /// A session ends by itself.
    SessionEnds(usize),
    /// An operator crashes and starts again. It remembers nothing.
    Crash(usize),
    /// An operator takes requests from its queue, in versions that its watch cache may show.
    Take(usize, Vec<(usize, usize)>),
    /// One effect of a task.
    Work(usize, usize, Effect),
    /// A call reaches the gateway.
    Arrive(usize, Arrival),
    /// A user edits the labels of a receipt.
    Edit(usize),
    /// A claim reaches the API server after its holder has stopped waiting for it.
    Store(usize),
    /// From now on the API server refuses this.
    Refuse(Trouble),
    /// A sweep checks a receipt.
    SweepReceipt(usize, usize),
    /// A sweep checks a request.
    SweepRequest(usize, usize),
}

/// What the gateway does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Executes it, and answers if the caller still waits.
    Executed,
    /// Answers with an error for each session.
    RefusedByRow,
    /// Answers with this error code. If the second value is true, a throttled call is made again under its claim.
    RefusedWith(&'static str, bool),
}

impl Model for Checked {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        scenario::worlds(self)
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // At the last moment nothing new begins. A property checks how the work in progress ends.
        if world.now == world.last() {
            return;
        }
        actions.push(Action::Advance);
        actions.extend(scenario::may_delete(self.scenario, world).then_some(Action::Delete));
        actions.extend(scenario::may_create(self.scenario, world).then_some(Action::Create));
        if world.faults > 0 {
            actions.extend(troubles(world).map(Action::Refuse));
            actions.extend((0..world.receipts.len()).filter(|index| may_edit(world, *index)).map(Action::Edit));
            let at_work = |operator: &usize| !world.operators[*operator].tasks.is_empty();
            actions.extend((0..2).filter(at_work).map(Action::Crash));
            actions.extend(world.sessions[0].then_some(Action::SessionEnds(0)));
        }
        for (number, operator) in world.operators.iter().enumerate() {
            // If nothing distinguishes the two operators, only the first one may begin. The other order would be the
            // same.
            let are_alike = world.clocks.operators[0] == world.clocks.operators[1];
            if number == 1 && are_alike && world.operators[0] == Operator::default() && *operator == world.operators[0]
            {
                continue;
            }
            actions.extend(takes(world, operator).into_iter().map(|picks| Action::Take(number, picks)));
            for (index, task) in operator.tasks.iter().enumerate() {
                let effects = Effect::of_task(task).into_iter().filter(|effect| world.faults > 0 || !effect.is_fault());
                actions.extend(effects.map(|effect| Action::Work(number, index, effect)));
            }
            let is_due = |receipt: &usize| sweeping::is_due(self.protocol, world, number, *receipt);
            let receipts = (0..world.receipts.len()).filter(is_due);
            actions.extend(receipts.map(|receipt| Action::SweepReceipt(number, receipt)));
            let is_due = |request: &usize| sweeping::is_request_due(world, number, *request);
            actions.extend((0..2).filter(is_due).map(|request| Action::SweepRequest(number, request)));
        }
        actions.extend((0..world.posts.len()).filter(|index| may_arrive(world, *index)).map(Action::Store));
        for (index, call) in world.network.iter().enumerate() {
            if world.is_accepted(call) {
                actions.extend([Arrival::Executed, Arrival::RefusedByRow].map(|how| Action::Arrive(index, how)));
                if call.only.is_some() {
                    continue;
                }
                actions.push(Action::Arrive(index, Arrival::RefusedWith("Throttling", true)));
                actions.push(Action::Arrive(index, Arrival::RefusedWith("Throttling", false)));
                actions.push(Action::Arrive(index, Arrival::RefusedWith("InvalidParameter", false)));
            } else {
                actions.push(Action::Arrive(index, Arrival::RefusedWith("InvalidTimeStamp.Expired", false)));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.step(&mut next, action)?;
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        properties::of(self)
    }
}

/// The requests that `operator` may take from its queue, alone or together, in any of their versions.
fn takes(world: &World, operator: &Operator) -> Vec<Vec<(usize, usize)>> {
    // A task beside the queue blocks it, except one that resolves another claim. A task that waits to write its end
    // needs no run of its own: the other operator can be in that state too.
    let is_in_the_way = |task: &Task| match task.members.as_slice() {
        [one] if task.is_aside => !one.stage.is_before_call(),
        members => !members.iter().all(|member| member.stage.is_off_queue()),
    };
    if operator.tasks.iter().any(is_in_the_way) {
        return vec![];
    }
    let is_free = |request: usize| operator.tasks.iter().all(|task| task.members.iter().all(|m| m.request != request));
    let versions = |request: usize| {
        let count = if is_free(request) { world.requests[request].versions.len() } else { 0 };
        (0..count).map(move |version| (request, version))
    };
    // Waiting requests share a call, unless their shared call was refused.
    let have_different_sessions = world.requests[0].sessions != world.requests[1].sessions;
    // By SQL, one may go out again after the other has ended.
    let is_one_left = world.backend == Backend::Server && world.requests.iter().any(|request| request.end.is_some());
    let waits_for_both =
        have_different_sessions && !is_one_left && is_free(0) && is_free(1) && operator.narrowed.is_empty();
    let alone = (0..2).filter(|_| !waits_for_both).flat_map(versions).map(|pick| vec![pick]);
    let both = versions(0).filter(|_| waits_for_both);
    let together = both.flat_map(|first| versions(1).map(move |second| vec![first, second]));
    alone.chain(together).collect()
}

impl Checked {
    /// `None` if the step is not possible.
    pub(crate) fn step(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Advance => {
                world.now += 1;
                Some(())
            }
            Action::Delete => {
                world.requests[0].object = None;
                Some(())
            }
            Action::Create => {
                scenario::create_again(world);
                Some(())
            }
            Action::SessionEnds(session) => {
                world.faults = world.faults.checked_sub(1)?;
                world.sessions[session] = false;
                Some(())
            }
            Action::Crash(number) => {
                world.faults = world.faults.checked_sub(1)?;
                let operator = &mut world.operators[number];
                *operator = Operator { life: operator.life + 1, ..Operator::default() };
                Some(())
            }
            Action::Take(operator, picks) => {
                take(self.protocol, world, operator, &picks)?;
                world.operators[operator].tasks.sort_by_key(|task| task.members[0].request);
                Some(())
            }
            Action::Work(operator, index, effect) => self.work(world, operator, index, effect),
            Action::Arrive(index, how) => self.arrive(world, index, how),
            Action::Edit(index) => {
                world.faults = world.faults.checked_sub(1)?;
                world.edit_receipt(index);
                Some(())
            }
            Action::Store(index) => {
                let receipt = world.posts.remove(index);
                // If the name is taken, the API server refuses the claim. No process gets that answer.
                let _ = world.create_receipt(&receipt);
                Some(())
            }
            Action::Refuse(trouble) => {
                world.faults = world.faults.checked_sub(1)?;
                world.trouble = trouble;
                Some(())
            }
            Action::SweepReceipt(operator, index) => sweeping::receipt(self.protocol, world, operator, index),
            Action::SweepRequest(_, index) => sweeping::request(world, index),
        }
    }

    fn work(&self, world: &mut World, operator: usize, index: usize, effect: Effect) -> Option<()> {
        if effect.is_fault() {
            world.faults = world.faults.checked_sub(1)?;
        }
        let mut task = world.operators[operator].tasks.remove(index);
        let (protocol, members) = (self.protocol, &mut task.members);
        let mut apart = vec![];
        match effect {
            Effect::Select(matching) => {
                select(protocol, world, operator, &mut task, matching);
                Some(())
            }
            Effect::Observe(is_read) => observe(protocol, world, operator, &mut task, is_read),
            Effect::Post(member, is_answered) => {
                claiming::post(protocol, world, operator, &mut members[member], is_answered)
            }
            Effect::PostLate(member) => claiming::post_late(world, &mut members[member]),
            Effect::Withdraw(member) => claiming::withdraw(protocol, world, operator, &mut members[member]),
            Effect::Resolve(member, is_read) => claiming::resolve(world, operator, &mut members[member], is_read),
            Effect::RecordOnce(member) => claiming::record_once(protocol, world, &mut members[member]),
            Effect::Check => calling::check(protocol, world, operator, &mut task).map(|others| apart = others),
            Effect::Send => calling::send(world, &mut task),
            Effect::Kill => in_order::kill(protocol, world, operator, &mut task),
            Effect::EndCall(_) => in_order::end(protocol, world, operator, &mut task),
            Effect::GiveUp if task.in_order.is_some() => in_order::give_up(protocol, world, operator, &mut task),
            Effect::GiveUp => calling::give_up(protocol, world, operator, &mut task),
            Effect::Release(member) => calling::release(protocol, world, operator, &mut members[member]),
            Effect::ReleaseInVain(member) => calling::give_claim_up(protocol, world, operator, &mut members[member]),
            Effect::Verify(member, is_read) => calling::verify(world, operator, &mut members[member], is_read),
            Effect::Show(member) => calling::show(protocol, world, operator, &mut members[member]),
            Effect::Settle(member) => calling::settle(protocol, world, &mut members[member]),
            Effect::Record(member) => calling::record(world, &mut members[member]),
            Effect::Report(member) => calling::report(protocol, world, &mut members[member]),
        }?;
        let requests = &world.requests;
        task.members.retain(|member| !member.stage.is_over(requests[member.request].object.is_none()));
        let tasks = &mut world.operators[operator].tasks;
        tasks.extend(apart.into_iter().chain([task]).filter(|task| !task.members.is_empty()));
        tasks.sort_by_key(|task| task.members[0].request);
        Some(())
    }

    fn arrive(&self, world: &mut World, index: usize, how: Arrival) -> Option<()> {
        let call = world.network.remove(index);
        let refusal = if let Arrival::RefusedWith(code, _) = how { Some(Refusal::of(kind_of(code))) } else { None };
        let is_rejected = refusal == Some(Refusal::Rejected);
        // Requests whose shared call was refused may be refused alone because of the same fault.
        let is_same_fault = is_rejected && world.were_refused_together(&call);
        let is_fault = is_rejected || refusal == Some(Refusal::Throttled) || how == Arrival::RefusedByRow;
        if is_fault && !is_same_fault {
            world.faults = world.faults.checked_sub(1)?;
        }
        if is_rejected && call.members.len() > 1 {
            world.refused_together.push(call.clone());
        }
        if how == Arrival::Executed {
            world.execute(&call);
        }
        let Some((operator, mut task)) = waiting_for(world, &call) else { return Some(()) };
        let mut apart = vec![];
        match how {
            how if task.in_order.is_some() => in_order::answer(self.protocol, world, operator, &mut task, how),
            Arrival::Executed => calling::answer(self.protocol, world, operator, &mut task, ""),
            Arrival::RefusedByRow => calling::answer(self.protocol, world, operator, &mut task, "not your session"),
            Arrival::RefusedWith(_, goes_on) => {
                apart = calling::refuse(self.protocol, world, operator, &mut task, (refusal?, goes_on));
            }
        }
        world.operators[operator].tasks.extend(apart.into_iter().chain([task]));
        world.operators[operator].tasks.sort_by_key(|task| task.members[0].request);
        Some(())
    }
}

/// The task that waits for the answer to `call`, removed from its operator.
fn waiting_for(world: &mut World, call: &Call) -> Option<(usize, Task)> {
    world.operators.iter_mut().enumerate().find_map(|(number, operator)| {
        let index = operator.tasks.iter().position(|task| task.waits_for(call))?;
        Some((number, operator.tasks.remove(index)))
    })
}
