use std::sync::Mutex;

use super::super::test_server::{Reply, Server, source};
use super::*;

const NAME: &str = "file.bin";

fn content() -> Vec<u8> {
    (0..700_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The names of what lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

fn failure(source: &Source, folder: &Path) -> String {
    fetch(source, folder, &()).unwrap_err().to_string()
}

/// Keeps what it is told.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl DataProgress for Log {
    fn begin(&self, work: DataWork<'_>, n_total: u64, n_done: u64) {
        self.0.lock().unwrap().push(format!("{work:?} {n_done}/{n_total}"));
    }

    fn advance(&self, n: u64) {
        self.0.lock().unwrap().push(n.to_string());
    }

    fn end(&self) {
        self.0.lock().unwrap().push("end".to_owned());
    }
}

impl Log {
    /// What began, and how far all came in total.
    fn sum(self) -> (Vec<String>, u64) {
        let (numbers, begun): (Vec<String>, Vec<String>) =
            self.0.into_inner().unwrap().into_iter().partition(|entry| entry.parse::<u64>().is_ok());
        (begun, numbers.iter().map(|n| n.parse::<u64>().unwrap()).sum())
    }
}

#[test]
fn a_file_comes_whole_and_is_not_fetched_again() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let body = content.clone();
    let server = Server::start(move |request, _| Reply::range(&body, request));
    let source = server.source(NAME, &content);
    // The folder is made.
    let place = folder.path().join("new/place");
    let log = Log::default();
    assert_eq!(fetch(&source, &place, &log).unwrap(), place.join(NAME));
    assert!(fs::read(place.join(NAME)).unwrap() == content);
    assert_eq!(names(&place), [NAME]);
    let began = r#"Download { file: "file.bin" } 0/700000"#.to_owned();
    assert_eq!(log.sum(), (vec![began, "end".to_owned()], 700_000));

    let log = Log::default();
    fetch(&source, &place, &log).unwrap();
    assert_eq!(server.requests().len(), 1);
    assert_eq!(log.sum(), (vec![r#"Check { file: "file.bin" } 0/700000"#.to_owned(), "end".to_owned()], 700_000));
}

#[test]
fn a_damaged_file_is_replaced() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let body = content.clone();
    let server = Server::start(move |request, _| Reply::range(&body, request));
    for damaged in [&content[1..], &[content.as_slice(), &[0]].concat(), &[&[!content[0]], &content[1..]].concat()] {
        fs::write(folder.path().join(NAME), damaged).unwrap();
        fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
        assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
    }
    assert_eq!(names(folder.path()), [NAME]);
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let body = content.clone();
    let server = Server::start(move |request, number| {
        let reply = Reply::range(&body, request).header("ETag: \"v1\"");
        reply.cut(if number < 2 { 300_000 } else { usize::MAX })
    });
    fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
    assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
    let asked: Vec<_> = server.requests().into_iter().map(|request| (request.start, request.if_range)).collect();
    let etag = Some("\"v1\"".to_owned());
    assert_eq!(asked, [(None, None), (Some(300_000), etag.clone()), (Some(600_000), etag)]);
}

#[test]
fn weak_marks_are_not_relied_upon() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let body = content.clone();
    let server = Server::start(move |request, number| {
        let reply = Reply::range(&body, request).header("ETag: W/\"v1\"");
        reply.cut(if number == 0 { 10 } else { usize::MAX })
    });
    fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
    assert_eq!(server.requests()[1].if_range, None);
}

#[test]
fn a_later_run_goes_on_with_the_part() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    // Three connections bring nothing: the run gives up, and keeps what it has.
    let body = content.clone();
    let poor = Server::start(move |request, number| match number {
        0 => Reply::range(&body, request).cut(250_000),
        _ => Reply::range(&body, request).cut(0),
    });
    let message = failure(&poor.source(NAME, &content), folder.path());
    assert!(message.contains(&poor.url(NAME)) && message.contains("250000 of 700000 bytes are here"), "{message}");
    assert_eq!(poor.requests().len(), 4);
    assert_eq!(names(folder.path()), ["file.bin.part"]);

    let body = content.clone();
    let good = Server::start(move |request, _| Reply::range(&body, request));
    let log = Log::default();
    fetch(&good.source(NAME, &content), folder.path(), &log).unwrap();
    assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
    assert_eq!(good.requests()[0].start, Some(250_000));
    let began = r#"Download { file: "file.bin" } 250000/700000"#.to_owned();
    assert_eq!(log.sum(), (vec![began, "end".to_owned()], 450_000));
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    fs::write(folder.path().join("file.bin.part"), &content[..1000]).unwrap();
    let body = content.clone();
    let server =
        Server::start(move |_, number| Reply::whole(&body).cut(if number == 0 { 500_000 } else { usize::MAX }));
    fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
    assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
    let starts: Vec<_> = server.requests().iter().map(|request| request.start).collect();
    assert_eq!(starts, [Some(1000), Some(500_000)]);
}

#[test]
fn a_wrong_range_is_not_joined() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    fs::write(folder.path().join("file.bin.part"), &content[..1000]).unwrap();
    let body = content.clone();
    let server = Server::start(move |request, number| {
        if number > 0 {
            return Reply::range(&body, request);
        }
        Reply { status: 206, ..Reply::whole(&body[900..]) }.header("Content-Range: bytes 900-699999/700000")
    });
    fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
    assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
    assert_eq!(server.requests()[1].start, None);
}

#[test]
fn a_part_of_another_file_costs_one_more_try() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let body = content.clone();
    let server = Server::start(move |request, _| Reply::range(&body, request));
    for len in [1000, 700_000, 700_001] {
        fs::write(folder.path().join("file.bin.part"), vec![7; len]).unwrap();
        fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
        assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
        fs::remove_file(folder.path().join(NAME)).unwrap();
    }
    let starts: Vec<_> = server.requests().iter().map(|request| request.start).collect();
    // A part that is too long is thrown away at once.
    assert_eq!(starts, [Some(1000), None, None, None]);
}

#[test]
fn a_mismatch_keeps_nothing_and_names_both_sums() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let mut other = content.clone();
    other[5] ^= 1;
    let found = source(NAME, &other, Vec::new()).sha256;
    let server = Server::start(move |request, _| Reply::range(&other, request));
    let source = server.source(NAME, &content);
    let message = failure(&source, folder.path());
    assert!(message.contains(&found) && message.contains(&source.sha256), "{message}");
    assert!(message.contains(NAME) && message.contains("nothing was kept"), "{message}");
    assert_eq!(names(folder.path()), [""; 0]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_wrong_file_is_not_asked_for_without_end() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    fs::write(folder.path().join("file.bin.part"), &content[..1000]).unwrap();
    // Each time the connection breaks once, too.
    let server = Server::start(|request, _| {
        let wrong = vec![7; 700_000];
        Reply::range(&wrong, request).cut(if request.start.is_none_or(|start| start < 2000) {
            300_000
        } else {
            usize::MAX
        })
    });
    let message = failure(&server.source(NAME, &content), folder.path());
    assert!(message.contains("SHA-256"), "{message}");
    let starts: Vec<_> = server.requests().iter().map(|request| request.start).collect();
    assert_eq!(starts, [Some(1000), Some(301_000), None, Some(300_000)]);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_file_of_another_length_is_not_fetched() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    for change in [-1, 1] {
        let body = vec![0; content.len().saturating_add_signed(change)];
        let server = Server::start(move |_, _| Reply::whole(&body));
        let message = failure(&server.source(NAME, &content), folder.path());
        let found = (700_000 + change).to_string();
        assert!(message.contains(&found) && message.contains("should have 700000"), "{message}");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn more_bytes_than_promised_are_not_kept() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    fs::write(folder.path().join("file.bin.part"), &content[..1000]).unwrap();
    let body = content.clone();
    let server = Server::start(move |_, _| {
        Reply { status: 206, ..Reply::whole(&body) }.header("Content-Range: bytes 1000-699999/700000")
    });
    let message = failure(&server.source(NAME, &content), folder.path());
    assert!(message.contains("more than 700000 bytes"), "{message}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn the_next_mirror_is_tried_and_goes_on_with_the_part() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let absent = Server::start(|_, _| Reply::status(404));
    let body = content.clone();
    let broken =
        Server::start(move |request, number| Reply::range(&body, request).cut(if number == 0 { 9 } else { 0 }));
    let body = content.clone();
    let good = Server::start(move |request, _| Reply::range(&body, request));
    let urls = [&absent, &broken, &good].map(|server| server.url(NAME));
    fetch(&source(NAME, &content, urls.into()), folder.path(), &()).unwrap();
    assert!(fs::read(folder.path().join(NAME)).unwrap() == content);
    assert_eq!(absent.requests().len(), 1);
    assert_eq!(good.requests()[0].start, Some(9));
}

#[test]
fn errors_list_all_mirrors() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let absent = Server::start(|_, _| Reply::status(404));
    let busy = Server::start(|_, _| Reply::status(503));
    // Nobody listens where somebody did.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = vec![absent.url(NAME), busy.url(NAME), format!("http://{closed}/{NAME}"), "https://".to_owned()];
    let message = failure(&source(NAME, &content, urls), folder.path());
    assert!(message.starts_with("cannot download file.bin:"), "{message}");
    let lines: Vec<&str> = message.lines().skip(1).collect();
    assert_eq!(lines.len(), 4, "{message}");
    assert!(lines[0].contains(&absent.url(NAME)) && lines[0].contains("404"), "{message}");
    assert!(lines[1].contains(&busy.url(NAME)) && lines[1].contains("503"), "{message}");
    assert!(lines[2].contains(&closed.to_string()), "{message}");
    assert_eq!(busy.requests().len(), MAX_FRUITLESS as usize);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn encryption_is_not_lost_by_a_redirect_and_others_are_followed() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let body = content.clone();
    let server = Server::start(move |request, _| match request.path.as_str() {
        NAME => Reply::status(302).header("Location: /elsewhere"),
        _ => Reply::range(&body, request),
    });
    fetch(&server.source(NAME, &content), folder.path(), &()).unwrap();
    let paths: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, [NAME, "elsewhere"]);
    let agent: Agent = Agent::config_builder().https_only(true).build().into();
    assert!(matches!(agent.get(server.url("elsewhere")).call(), Err(ureq::Error::RequireHttpsOnly(_))));
}

#[test]
fn what_is_fetched_is_well_formed() {
    use super::super::{cifar10, mnist, tinyimagenet};
    let all = [mnist::sources(), cifar10::sources(), tinyimagenet::sources()].concat();
    assert_eq!(all.len(), 6);
    for source in all {
        assert!(
            source.sha256.len() == 64 && source.sha256.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        );
        assert!(source.urls.iter().all(|url| url.starts_with("https://") && url.ends_with(&source.file)));
        assert!(!source.urls.is_empty() && source.bytes > 0);
    }
}
