//! Tests of chan_websocket's control messages.

use proptest::prelude::*;

use super::*;

fn start() -> MediaStart {
    MediaStart {
        connection_id: "e226e283-c90a".to_string(),
        channel_id: Some("pbx1-1.9".to_string()),
        format: Some("ulaw".to_string()),
        optimal_frame_size: 160,
        ptime_ms: Some(20),
    }
}

fn wrong(event: &'static str, field: &'static str, found: &str) -> EventError {
    EventError::Wrong { event, field, found: found.to_string() }
}

#[test]
fn events_in_json_are_read() {
    let cases = [
        (
            r#"{"event":"MEDIA_START","connection_id":"e226e283-c90a","channel":"WebSocket/x/0x5","channel_id":"pbx1-1.9",
                "format":"ulaw","optimal_frame_size":160,"ptime":20,"channel_variables":{"A":"\u001b[2J","B":[1]}}"#,
            Event::MediaStart(start()),
        ),
        // As Asterisk 22.10.1 sent it.
        (
            r#"{"event":"MEDIA_START","connection_id":"e226e283-c90a","channel":"WebSocket/INCOMING/0x7fa13c002700","channel_id":"pbx1-1.9","format":"ulaw","optimal_frame_size":160,"ptime":20,"channel_variables":{"MEDIA_WEBSOCKET_CONNECTION_ID":"e226e283-c90a","MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE":"160"}}"#,
            Event::MediaStart(start()),
        ),
        (r#"{"event":"MEDIA_XOFF","channel_id":"1.9"}"#, Event::Xoff),
        (r#"  {"event":"MEDIA_XON"}  "#, Event::Xon),
        (
            r#"{"event":"STATUS","channel_id":"1.9","queue_length":12,"xon_level":800,"xoff_level":900,
                "queue_full":false,"bulk_media":true,"media_paused":false}"#,
            Event::Status(Status {
                queue_length: 12,
                queue_full: false,
                bulk_media: true,
                media_paused: false,
            }),
        ),
        (r#"{"event":"QUEUE_DRAINED","channel_id":"1.9"}"#, Event::QueueDrained),
        (r#"{"event":"MEDIA_MARK_PROCESSED","correlation_id":"7"}"#, Event::MarkProcessed(Some("7".into()))),
        (r#"{"event":"MEDIA_BUFFERING_COMPLETED","correlation_id":""}"#, Event::BufferingCompleted(None)),
        (r##"{"event":"DTMF_END","digit":"#"}"##, Event::DtmfEnd('#')),
        (r#"{"event":"ERROR","error_text":"Unable to parse JSON command"}"#, {
            Event::Error("Unable to parse JSON command".into())
        }),
        (r#"{"event":"MEDIA_DANCE","digit":[]}"#, Event::Unknown("MEDIA_DANCE".into())),
    ];
    for (text, event) in cases {
        assert_eq!(Event::parse(text), Ok(event), "{text}");
    }
}

#[test]
fn events_in_plain_text_are_read() {
    let old = MediaStart { channel_id: None, format: None, ptime_ms: None, ..start() };
    let cases = [
        (
            "MEDIA_START connection_id:e226e283-c90a channel:WebSocket/x/0x5 channel_id:pbx1-1.9 format:ulaw \
             optimal_frame_size:160 ptime:20",
            Event::MediaStart(start()),
        ),
        (
            "MEDIA_START connection_id:e226e283-c90a channel:WebSocket/a:b optimal_frame_size:160",
            Event::MediaStart(old),
        ),
        ("MEDIA_XOFF", Event::Xoff),
        (
            "STATUS channel_id:1.9 queue_length:901 xon_level:800 xoff_level:900 queue_full:true bulk_media:false",
            Event::Status(Status {
                queue_length: 901,
                queue_full: true,
                bulk_media: false,
                media_paused: false,
            }),
        ),
        ("DTMF_END digit:5 channel_id:1.9", Event::DtmfEnd('5')),
        ("MEDIA_BUFFERING_COMPLETED 61ea:9311", Event::BufferingCompleted(Some("61ea:9311".into()))),
        ("MEDIA_MARK_PROCESSED 7", Event::MarkProcessed(Some("7".into()))),
        ("MEDIA_MARK_PROCESSED", Event::MarkProcessed(None)),
        ("ERROR channel_id:1.9 error_text:no such: thing ", Event::Error("no such: thing".into())),
        ("SOMETHING new event:MEDIA_XOFF", Event::Unknown("SOMETHING".into())),
    ];
    for (text, event) in cases {
        assert_eq!(Event::parse(text), Ok(event), "{text}");
        assert_eq!(ControlForm::of(text), ControlForm::Plain);
    }
}

#[test]
fn every_oddity_has_its_name() {
    let long = "x".repeat(LONGEST_EVENT + 1);
    let cases = [
        (" \n", EventError::Empty),
        (long.as_str(), EventError::TooLong(LONGEST_EVENT + 1)),
        ("{}", EventError::NoName),
        (r#"{"event":7}"#, EventError::NoName),
        (r#"{"event":"STATUS"}"#, EventError::Missing { event: "STATUS", field: "queue_length" }),
        (r#"{"event":"STATUS","queue_length":-1}"#, wrong("STATUS", "queue_length", "-1")),
        ("STATUS queue_length:9x", wrong("STATUS", "queue_length", "\"9x\"")),
        ("STATUS queue_length:9 queue_full:yes", wrong("STATUS", "queue_full", "\"yes\"")),
        ("MEDIA_START x", EventError::Missing { event: "MEDIA_START", field: "connection_id" }),
        (
            "MEDIA_START connection_id:x",
            EventError::Missing { event: "MEDIA_START", field: "optimal_frame_size" },
        ),
        ("DTMF_END digit:12", wrong("DTMF_END", "digit", "12")),
        (r#"{"event":"DTMF_END","digit":1}"#, wrong("DTMF_END", "digit", "1")),
        (r#"{"event":"MEDIA_MARK_PROCESSED","correlation_id":{}}"#, {
            wrong("MEDIA_MARK_PROCESSED", "correlation_id", "{}")
        }),
    ];
    for (text, error) in cases {
        assert_eq!(Event::parse(text), Err(error), "{text:.60}");
    }
    let deep = format!("{{\"event\":{}", "[".repeat(50_000));
    assert!(matches!(Event::parse(&deep), Err(EventError::NotJson(_))));
    let name = Event::parse(&"N".repeat(60_000)).unwrap();
    assert_eq!(name, Event::Unknown("N".repeat(40)));
}

#[test]
fn commands_come_in_the_form_of_the_call() {
    let (json, plain) = (ControlForm::Json, ControlForm::Plain);
    assert_eq!(Command::GetStatus.text(json), r#"{"command":"GET_STATUS"}"#);
    assert_eq!(Command::GetStatus.text(plain), "GET_STATUS");
    assert_eq!(Command::MarkMedia(7).text(json), r#"{"command":"MARK_MEDIA","correlation_id":"7"}"#);
    assert_eq!(Command::StopMediaBuffering(Some(7)).text(plain), "STOP_MEDIA_BUFFERING 7");
    assert_eq!(Command::StopMediaBuffering(None).text(plain), "STOP_MEDIA_BUFFERING");
    let all = [
        Command::Answer,
        Command::HangUp,
        Command::FlushMedia,
        Command::ReportQueueDrained,
        Command::MarkMedia(u64::MAX),
        Command::StartMediaBuffering,
        Command::StopMediaBuffering(Some(u64::MAX)),
    ];
    for command in all {
        let text = command.text(json);
        assert!(serde_json::from_str::<Map<String, Value>>(&text).is_ok() && text.len() <= 128, "{text}");
    }
}

#[test]
fn backlog_is_a_time() {
    let mut status = Status { queue_length: 10, queue_full: false, bulk_media: false, media_paused: false };
    assert_eq!(status.backlog(Duration::from_millis(20)), Duration::from_millis(200));
    status.queue_length = u32::MAX;
    assert_eq!(status.backlog(Duration::MAX), Duration::MAX);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in any::<String>(),
        words in "(MEDIA_START|STATUS|DTMF_END|ERROR|MEDIA_MARK_PROCESSED)( [a-z_]{0,14}:?[^ ]{0,9}){0,6}",
        pairs in prop::collection::vec(
            (prop::sample::select(vec!["event", "digit", "ptime", "queue_length", "format", "error_text"]),
             prop::sample::select(vec!["\"STATUS\"", "\"MEDIA_START\"", "\"DTMF_END\"", "1", "-1", "1e99", "null",
                                       "[]", "true", "\"é\""])), 0..6),
    ) {
        let _ = Event::parse(&text);
        let _ = Event::parse(&words);
        let body: Vec<_> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let _ = Event::parse(&format!("{{{}}}", body.join(",")));
    }

    #[test]
    fn both_forms_say_the_same(queue_length: u32, queue_full: bool, bulk_media: bool, media_paused: bool) {
        let status = Event::Status(Status { queue_length, queue_full, bulk_media, media_paused });
        let plain = format!("STATUS channel_id:1.9 queue_length:{queue_length} xon_level:800 xoff_level:900 \
            queue_full:{queue_full} bulk_media:{bulk_media} media_paused:{media_paused}");
        let json = format!(r#"{{"event":"STATUS","queue_length":{queue_length},"queue_full":{queue_full},
            "bulk_media":{bulk_media},"media_paused":{media_paused}}}"#);
        prop_assert_eq!(Event::parse(&plain), Ok(status.clone()));
        prop_assert_eq!(Event::parse(&json), Ok(status));
    }
}
