use simple_dns::ResourceRecord;
use simple_dns::rdata::NULL;

use super::*;

fn query() -> Query {
    Query::with_id("db.example.com", 7).unwrap()
}

/// An answer to [`query`] with one record, changed in some way.
fn answer(change: impl FnOnce(&mut Packet)) -> Vec<u8> {
    let mut packet = Packet::new_reply(7);
    packet.questions.push(Question::new(
        Name::new_unchecked("DB.example.com"),
        TYPE::Unknown(SSHFP).into(),
        CLASS::IN.into(),
        false,
    ));
    packet.answers.push(ResourceRecord::new(
        Name::new_unchecked("alias.example.com"),
        CLASS::IN,
        60,
        RData::NULL(SSHFP, NULL::new(&[4, 2, 0xab]).unwrap()),
    ));
    change(&mut packet);
    packet.build_bytes_vec().unwrap()
}

#[test]
fn an_answer_has_its_records_and_says_whether_it_is_authentic() {
    for (flags, authentic) in [
        (PacketFlag::empty(), false),
        (PacketFlag::AUTHENTIC_DATA, true),
    ] {
        let records = vec![Record::parse(&[4, 2, 0xab]).unwrap()];
        let expected = Message::Answer(Ok(Answer { authentic, records }));
        let bytes = answer(|packet| packet.set_flags(flags));
        assert_eq!(query().read(&bytes), expected);
    }
}

#[test]
fn the_bit_counts_only_where_the_resolver_is_trusted_to_set_it() {
    let answer = |authentic| Answer {
        authentic,
        records: Vec::new(),
    };
    assert_eq!(answer(true).believed(true).0, Credit::Vouched);
    assert_eq!(answer(true).believed(false).0, Credit::Claimed);
    assert_eq!(answer(false).believed(true).0, Credit::Nothing);
}

#[test]
fn a_name_that_does_not_exist_has_no_records_and_other_codes_are_no_answer() {
    let none = answer(|packet| {
        packet.answers.clear();
        *packet.rcode_mut() = RCODE::NameError;
    });
    let Message::Answer(Ok(found)) = query().read(&none) else {
        panic!("not an answer");
    };
    assert_eq!(found.records, []);
    let failed = answer(|packet| *packet.rcode_mut() = RCODE::ServerFailure);
    let said = Message::Answer(Err("server failure".to_owned()));
    assert_eq!(query().read(&failed), said);
}

#[test]
fn what_does_not_answer_the_question_is_not_an_answer() {
    let foreign = [
        answer(|packet| packet.set_id(8)),
        answer(|packet| packet.remove_flags(PacketFlag::RESPONSE)),
        answer(|packet| packet.questions.clear()),
        answer(|packet| packet.questions[0].qname = Name::new_unchecked("db.example.org")),
        answer(|packet| packet.questions[0].qtype = TYPE::A.into()),
        Vec::new(),
        vec![0xff; 600],
    ];
    for bytes in foreign {
        assert_eq!(query().read(&bytes), Message::Foreign, "{bytes:?}");
    }
}

#[test]
fn a_message_that_ends_anywhere_is_nonsense_unless_it_says_that_it_does() {
    let whole = answer(|_| {});
    let question = query().bytes.len();
    for end in 0..whole.len() {
        let expected = match end < question {
            true => Message::Foreign,
            false => Message::Answer(Err(NONSENSE.to_owned())),
        };
        assert_eq!(query().read(&whole[..end]), expected, "{end}");
    }
    let truncated = answer(|packet| packet.set_flags(PacketFlag::TRUNCATION));
    for end in question..=truncated.len() {
        assert_eq!(query().read(&truncated[..end]), Message::Truncated, "{end}");
    }
}

#[test]
fn a_host_that_is_no_name_of_the_dns_is_not_asked_for() {
    assert!(Query::with_id(&"x".repeat(64), 1).is_none());
    assert!(Query::with_id(&"x.".repeat(200), 1).is_none());
}
