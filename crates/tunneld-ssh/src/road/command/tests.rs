use super::*;
use crate::road::testing::target;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunneld_core::config::Via;
use tunneld_core::failure::Class;

const LONG: Duration = Duration::from_secs(60);

struct Started {
    wire: UnixStream,
    under: Under,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

fn try_start(command: &ProxyCommand) -> Result<Started, Failure> {
    let (shared, tasks) = (Shared::new(Default::default()), TaskTracker::new());
    let web = target("web", 2222, Via::Command(command.clone()));
    let (wire, under) = start(command, &web, None, &tasks, &shared)?;
    let Wire::Unix(wire) = wire else {
        panic!("not a unix socket");
    };
    Ok(Started {
        wire,
        under,
        shared,
        tasks,
    })
}

fn shell(line: &str) -> Started {
    try_start(&ProxyCommand::Shell(line.to_owned())).unwrap()
}

fn argv(args: &[&str]) -> ProxyCommand {
    ProxyCommand::Argv(args.iter().map(|&a| a.to_owned()).collect())
}

/// Why the session over a program ended, once its socket has.
async fn end(mut started: Started) -> Failure {
    let mut said = Vec::new();
    started.wire.read_to_end(&mut said).await.unwrap();
    let ended = started.shared.ended();
    let failure = ended.borrow().clone();
    failure.expect("the reason must be there before the end of the socket")
}

/// The first line that a program writes.
async fn line(wire: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(wire.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().trim().to_owned()
}

async fn finished(tasks: &TaskTracker) {
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn bytes_go_both_ways_through_the_program() {
    let mut started = try_start(&argv(&["cat"])).unwrap();
    let sent = vec![7; 1 << 20];
    let (mut read, mut write) = started.wire.split();
    let mut got = vec![0; sent.len()];
    let (wrote, was_read) = tokio::join!(write.write_all(&sent), read.read_exact(&mut got));
    wrote.unwrap();
    was_read.unwrap();
    assert!(got == sent);
}

#[tokio::test]
async fn the_tokens_are_put_in_and_an_array_sees_no_shell() {
    let mut started = shell("printf '%%s.%%s.%%s.%%s\\n' %h %n %p %r");
    assert_eq!(line(&mut started.wire).await, "web.web.2222.u");
    let mut started = try_start(&argv(&["echo", "%h:%p", "$HOME;", "100%%"])).unwrap();
    assert_eq!(line(&mut started.wire).await, "web:2222 $HOME; 100%");
}

#[tokio::test]
async fn the_reason_is_there_before_the_socket_ends_with_the_last_complaint() {
    let complaining = shell("sh -c 'echo one >&2; echo \"no route\" >&2; echo >&2; exit 3'");
    let failure = end(complaining).await;
    assert_eq!(
        failure.cause,
        "proxy command exited with status 3: no route"
    );
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Transient)
    );

    let started = shell("sh -c 'kill -9 $$'");
    started.shared.set_stage(Stage::Session);
    let failure = end(started).await;
    assert_eq!(failure.cause, "proxy command was killed by signal 9");
    assert_eq!(failure.stage, Stage::Session);
}

#[tokio::test]
async fn the_servers_goodbye_is_a_better_reason_than_the_end_of_the_program() {
    let mut started = shell("echo bye");
    let goodbye = Failure::transient(Stage::Session, "server disconnected: bye");
    assert_eq!(line(&mut started.wire).await, "bye");
    started.shared.end(goodbye.clone());
    assert_eq!(end(started).await, goodbye);
}

#[tokio::test]
async fn a_program_that_is_not_there_needs_a_person() {
    let missing = try_start(&argv(&["/no/such/program"]));
    let failure = missing.err().unwrap();
    assert_eq!(
        failure.cause,
        "proxy command: /no/such/program: no such file or directory"
    );
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Blocked)
    );
    let failure = end(shell("/no/such/program %h")).await;
    assert!(
        failure
            .cause
            .starts_with("proxy command exited with status 127: "),
        "{failure}"
    );
    assert_eq!(failure.class, Class::Blocked);
}

#[tokio::test]
async fn the_program_and_what_it_has_started_go_with_the_road_and_leave_no_zombie() {
    let deaf = "sh -c 'trap \"\" HUP; sleep 1000 & echo $$; wait'";
    for command in ["sh -c 'sleep 1000 & echo $$; wait'", deaf] {
        let Started {
            mut wire,
            under,
            tasks,
            ..
        } = shell(command);
        let process = Path::new("/proc").join(line(&mut wire).await);
        assert!(process.exists());
        drop(under);
        finished(&tasks).await;
        assert!(!process.exists(), "{}", process.display());
        // The socket ends when the last who has it, the sleep, is gone.
        let mut rest = Vec::new();
        let ended = wire.read_to_end(&mut rest);
        tokio::time::timeout(LONG, ended).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_program_gets_one_socket_and_none_of_ours() {
    let _ours = StdStream::pair().unwrap();
    // The first command of a pipe still has the standard input.
    let mut started = shell("sh -c 'ls -l /proc/self/fd | grep -c socket:'");
    assert_eq!(line(&mut started.wire).await, "1");
}
