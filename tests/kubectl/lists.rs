//! `sessions`.

use testbed::arena::{SERVER_IP, session_id};
use testbed::gateway::{Fault, FaultKind};

use crate::stage::{Stage, lines, parsed, sessions};

#[tokio::test]
async fn sessions_are_listed_and_the_list_leaves_nothing_behind() {
    let stage = Stage::ready("list", sessions()).await;
    let said = stage.run(&["sessions"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let order: Vec<_> = said.stdout.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(order, [4, 1, 2, 3].map(|number| format!("{SERVER_IP}/{}", session_id(number))), "{}", said.stdout);
    assert!(said.stdout.contains("12m22s   SELECT SUM(amount) FROM orders"), "{}", said.stdout);

    for (line, numbers) in [
        (&["ps", "--user", "report"][..], &[1, 2][..]),
        (&["ps", "prod-ob", "--user", "report", "--min", "5m"], &[1]),
        (&["ps", "--active", "--exclude-user", "report"], &[3]),
        (&["ps", "--state", "sleep"], &[4]),
        (&["ps", "--sql", "(?i)from ORDERS", "--client", "10.2.0.0/16", "--sort", "user"], &[3, 1, 2]),
    ] {
        let said = stage.run(&[line, &["-o", "name"]].concat()).await;
        let names: Vec<_> = numbers.iter().map(|number| format!("{SERVER_IP}/{}", session_id(*number))).collect();
        assert_eq!(
            (said.code, lines(&said.stdout)),
            (0, names.iter().map(String::as_str).collect()),
            "{line:?}: {said:?}"
        );
    }
    let json = parsed(&stage.run(&["ps", "--user", "app", "-o", "json"]).await.stdout);
    assert_eq!(json[0]["observed"]["user"], "app");
    let nobody = stage.run(&["ps", "--user", "nobody"]).await;
    assert_eq!((nobody.code, nobody.stdout.as_str(), nobody.stderr.trim()), (0, "", "no session matches"));
    assert!(stage.requests().await.is_empty(), "each list is deleted");
    assert!(stage.kills().is_empty());
}

#[tokio::test]
async fn what_the_operator_cannot_do_is_said_in_its_words_and_with_advice() {
    let stage = Stage::ready("list-refused", sessions()).await;
    stage.arena.gateway.inject(Fault::new(FaultKind::Error).on("DescribeProcessStatsComposition"));
    let pattern = stage.run(&["ps", "--sql", "("]).await;
    assert!(pattern.code != 0 && pattern.stderr.contains("regular expression"), "{pattern:?}");
    let other = stage.run(&["ps", "--tenant", "t-other"]).await;
    assert!(other.code == 1 && other.stderr.contains("does not allow \"t-other\""), "{other:?}");
    let connection = stage.run(&["ps", "other"]).await;
    assert!(
        connection.code == 1 && connection.stderr.contains("no connection \"other\": it has prod-ob"),
        "{connection:?}"
    );
    stage.assert_no_list().await;
}
