use super::series::Expect;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_act_goes_as_expected_and_the_log_holds_nothing_personal() {
    let stage = Stage::set(Clock::system()).await.unwrap();
    let folder = stage.folder().to_owned();
    let mut notes = stage::Notes::default();
    for (number, act) in (1..).zip(series::acts(&stage)) {
        let seen = stage.play(&act, &mut notes).await;
        let differs = series::differs(&act, &seen);
        let shown = show::act(number, &act, &seen, differs.as_deref());
        assert_eq!(differs, None, "{shown}");
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 120, "{widest} columns: {shown}");
    }
    let search = stage.search(&notes);
    assert_eq!(search.found, Vec::<String>::new(), "LOG-2");
    // The search means something only where there was something to find.
    assert!(search.answered > 50 && search.tokens >= 5 && search.lines >= 16);
    assert!(show::invitation(&stage, &notes).contains(&notes.order));
    stage.strike().await;
    assert!(!folder.exists(), "the folder is removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_goes_another_way_is_told() {
    let stage = Stage::set(Clock::system()).await.unwrap();
    let mut notes = stage::Notes::default();
    let mut act = series::acts(&stage).remove(0);
    for (expect, word) in [
        (Expect::Refused { status: 401, code: "NoCredential", detail: None }, "status"),
        (Expect::Served { status: 200, version: http::Version::HTTP_11 }, "version"),
        (Expect::Limited, "status"),
        (Expect::Closed, "closed connection"),
    ] {
        act.expect = expect;
        let seen = stage.play(&act, &mut notes).await;
        let differs = series::differs(&act, &seen).unwrap();
        assert!(differs.contains(word), "{differs}");
        assert!(show::act(1, &act, &seen, Some(&differs)).contains("not as expected"));
    }
    stage.strike().await;
}
