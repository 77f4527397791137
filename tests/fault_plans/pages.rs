//! A list of several pages: the operator asks for 20 objects at a time, and what comes first is known before the rest is.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{Arena, Ground, Launch, is_finished, kill_of, session};
use testbed::fault_proxy::{Asked, At, Fault, Rule, StreamFault};
use tokio::time::{sleep, timeout};

use crate::plan::SHORT_WATCH_SECONDS;

/// More than a page has.
const HELD: usize = 21;
/// Far more than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(200);
/// By its name the first of all.
const FIRST: &str = "a-first";

/// A request of which no event tells, on the first page of the list that follows; the next page comes late. Returns whether
/// it ends before what there is is listed once more.
pub async fn ends_when_first_of_two_pages(ground: &Arc<Ground>) -> bool {
    let arena = Arena::set(ground, "pages", vec![session(1)]).await.unwrap();
    let held = SessionKillSpec { suspend: true, ..kill_of(&[2], 3600).unwrap() };
    let asking = (0..HELD).map(|number| (format!("held-{number:02}"), held.clone()));
    let asking = stream::iter(asking).map(async |(name, spec)| arena.request(&name, spec).await);
    asking.buffer_unordered(16).try_collect::<Vec<()>>().await.unwrap();

    // Short: the first watch tells how the operator writes why they wait, and the next is to tell of one request only.
    let launch = Launch { everywhere: true, watch_seconds: Some(SHORT_WATCH_SECONDS), ..Launch::default() };
    arena.start(launch).await.unwrap().ready().await.unwrap();
    while arena.requests().await.unwrap().iter().any(|request| request.status.is_none()) {
        sleep(POLL).await;
    }
    let lost = Rule::of(Fault::Stream(StreamFault::Drop(1)), "watch sessionkills").times(1);
    let lost = arena.api.order(lost);
    let is_next = |asked: &Asked| asked.kind == "list sessionkills" && asked.target.contains("continue=");
    let late = Fault::Delay(At::Request, Duration::from_secs(2));
    let late = arena.api.order(Rule::new(late, is_next).times(1));
    lost.reached().await;
    arena.request(FIRST, kill_of(&[1], 3600).unwrap()).await.unwrap();
    late.reached().await;
    // Takes no time; it counts.
    let once_more = Fault::Delay(At::Request, Duration::ZERO);
    let once_more = arena.api.order(Rule::of(once_more, "list sessionkills").times(1));
    let ended = timeout(LIMIT, async {
        while once_more.count() == 0 {
            if is_finished(&arena.api_of::<SessionKill>().get(FIRST).await.unwrap()) {
                return true;
            }
            sleep(POLL).await;
        }
        false
    });
    let has_ended = ended.await.unwrap_or(false);
    if has_ended {
        arena.clean();
    }
    has_ended
}
