//! Agents that are away, hang, lie, or do not sign.

use tunneld_lab::agent::{AgentFault, LabAgent, SecurityKey, SshAgent};
use tunneld_lab::keys::generate;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use super::Corpus;
use crate::support::{Table, text};

#[test]
fn an_agent_of_no_use_is_told_as_written() {
    let sshd = Sshd::start();
    let mut corpus = Corpus::about("agents", &sshd);
    let alone = Table::to(&sshd).set("identity_file", text("none"));
    let alone = alone.dynamic(free_addr());
    let named = |socket: String| alone.clone().set("identity_agent", text(socket));
    let variable = named("SSH_AUTH_SOCK".to_owned());
    corpus.case("A variable that is not set.", &variable);
    let gone = named(sshd.dir().join("gone").display().to_string());
    corpus.case("A socket that is gone.", &gone);
    let file = named(sshd.known_hosts().display().to_string());
    corpus.case("A file that is no socket.", &file);
    let dead = sshd.dir().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let dead = named(dead.display().to_string());
    corpus.case("A socket that nobody listens on any more.", &dead);

    let real = SshAgent::start(&sshd.dir().join("real"));
    let of_real = named(real.socket().display().to_string());
    corpus.case("An agent without a key.", &of_real);
    real.add(sshd.client_key());
    corpus.case_as_nobody("An agent of another user.", &of_real);
    real.lock(super::PHRASE);
    corpus.case("A locked agent.", &of_real);

    let lab = LabAgent::start(&sshd.dir().join("lab"));
    lab.add(sshd.client_key_files());
    let of_lab = named(lab.socket().display().to_string());
    for (title, fault) in [
        ("An agent that hangs.", AgentFault::NeverAnswer),
        ("An agent that hangs up.", AgentFault::HangUp),
        (
            "An agent whose answer is longer than any may be.",
            AgentFault::Answer(vec![255, 255, 255, 255, 12]),
        ),
        (
            "An agent that hangs up within its answer.",
            AgentFault::AnswerAndHangUp(vec![0, 0, 0, 9, 12]),
        ),
        (
            "An agent with more keys than it shows.",
            AgentFault::Answer(vec![0, 0, 0, 5, 12, 0, 0, 0, 9]),
        ),
        (
            "An agent with four billion keys.",
            AgentFault::Answer(vec![0, 0, 0, 5, 12, 255, 255, 255, 255]),
        ),
        (
            "A web server in the agent's place.",
            AgentFault::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ),
        (
            "An agent that does not want to sign.",
            AgentFault::RefuseToSign,
        ),
        (
            "An agent that signs with another key.",
            AgentFault::SignWithAnotherKey,
        ),
    ] {
        lab.set_fault(Some(fault));
        corpus.case(title, &of_lab);
    }
    lab.set_fault(None);
    lab.remove_all();
    lab.add(&generate(sshd.dir(), "unknown"));
    corpus.case(
        "An agent with a key that the server does not know.",
        &of_lab,
    );
    lab.remove_all();
    sshd.authorize(&lab.add_security_key(SecurityKey::Ed25519, "ssh:"));
    lab.set_fault(Some(AgentFault::NeverSign));
    let impatient = of_lab.set("connect_timeout", text("5s"));
    corpus.case("A security key that nobody touches.", &impatient);
    corpus.compare();
}
