//! A list of several pages. The operator lists 20 objects per page, and processes the first page before the next one
//! arrives.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{Arena, Ground, Launch, is_finished, kill_of, session};
use testbed::fault_proxy::{Asked, At, Fault, Rule, StreamFault};
use tokio::time::{sleep, timeout};

use crate::plan::SHORT_WATCH_SECONDS;

/// One more than the 20 objects of a page.
const HELD: usize = 21;
/// Far longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(200);
/// The first name in alphabetical order, so that it is on the first page.
const FIRST: &str = "a-first";

/// No watch event tells of the request, but it is on the first page of the next list, whose second page comes late.
/// Returns whether the request ends before the objects are listed once more.
pub async fn ends_when_first_of_two_pages(ground: &Arc<Ground>) -> bool {
    let arena = Arena::set(ground, "pages", vec![session(1)]).await.unwrap();
    let held = SessionKillSpec { suspend: true, ..kill_of(&[2], 3600).unwrap() };
    let asking = (0..HELD).map(|number| (format!("held-{number:02}"), held.clone()));
    let asking = stream::iter(asking).map(async |(name, spec)| arena.request(&name, spec).await);
    asking.buffer_unordered(16).try_collect::<Vec<()>>().await.unwrap();

    // A short watch of 10 s. The first one shows the statuses of the suspended requests. The second one has only the
    // event of the new request, which is lost.
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
    // A delay of 0 s changes nothing. It counts the lists.
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
