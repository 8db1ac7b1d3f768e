//! Far ends that offer further streams in mid-call: the audio is taken, all others are refused, and a call that is offered
//! none for it goes on as it was.

use std::time::Duration;

use loadtest::sip::Message;

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

const SESSION: &str = "v=0\r\no=- 4711 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
/// The audio stream of the call, on its port.
const AUDIO: &str =
    "m=audio PORT RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";
/// Our own, in the answer.
const OURS: &str = "m=audio PORT RTP/AVP 0";

struct Offer {
    name: &'static str,
    streams: &'static [&'static str],
    /// The streams of the answer; none for 488.
    answered: &'static [&'static str],
}

const OFFERS: &[Offer] = &[
    Offer { name: "nothing new", streams: &[AUDIO], answered: &[OURS] },
    Offer {
        name: "video",
        streams: &[AUDIO, "m=video 40404 RTP/AVP 31 34\r\na=sendrecv\r\n"],
        answered: &[OURS, "m=video 0 RTP/AVP 31 34"],
    },
    Offer {
        name: "audio again after a failed fax",
        streams: &["m=audio 0 RTP/AVP 0\r\n", "m=video 0 RTP/AVP 31\r\n", AUDIO],
        answered: &["m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 31", OURS],
    },
    Offer {
        name: "fax instead",
        streams: &["m=audio 0 RTP/AVP 0\r\n", "m=image 40404 udptl t38\r\na=T38FaxVersion:0\r\n"],
        answered: &[],
    },
    Offer { name: "fax alone", streams: &["m=image 40404 UDPTL t38\r\n"], answered: &[] },
    Offer {
        name: "a conference",
        streams: &[
            "m=application 40404 UDP/BFCP *\r\na=floorctrl:c-s\r\n",
            AUDIO,
            "m=video 40406 RTP/AVP 96\r\na=content:slides\r\n",
            "m=application 40408 RTP/AVP 100\r\na=rtpmap:100 H224/4800\r\n",
        ],
        answered: &[
            "m=application 0 UDP/BFCP *",
            OURS,
            "m=video 0 RTP/AVP 96",
            "m=application 0 RTP/AVP 100",
        ],
    },
    Offer {
        name: "encrypted or not",
        streams: &[
            "m=audio 40404 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n",
            AUDIO,
        ],
        answered: &["m=audio 0 RTP/SAVP 0", OURS],
    },
    Offer { name: "audio twice", streams: &[AUDIO, AUDIO], answered: &[OURS, "m=audio 0 RTP/AVP 0 101"] },
    Offer {
        name: "video that cannot be read",
        streams: &["m=video\r\n", "m=video 99999 RTP/AVP 31\r\nc=IN\r\n", AUDIO],
        answered: &["m=video 0 RTP/AVP 0", "m=video 0 RTP/AVP 31", OURS],
    },
    Offer {
        name: "as many as can be refused",
        streams: &[
            AUDIO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO, VIDEO,
            VIDEO, VIDEO,
        ],
        answered: &[
            OURS, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
        ],
    },
    Offer { name: "more than that", streams: &[AUDIO; 17], answered: &[] },
];

const VIDEO: &str = "m=video 40404 RTP/AVP 31\r\n";
const NONE: &str = "m=video 0 RTP/AVP 31";

/// Offers each call other streams after a second, and hangs up where that is refused although it need not be.
struct Offers;

impl Odd for Offers {
    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        io.later(call, Duration::from_secs(1));
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        if call.is_up {
            let streams = OFFERS[call.number].streams.concat().replace("PORT", &call.port().to_string());
            io.request(call, "INVITE", &format!("{SESSION}{streams}"));
        }
    }

    fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
        let Some(status) = response.status().filter(|status| *status >= 200) else { return };
        io.acknowledge(call, response);
        let ours = call.invite.body();
        let port = String::from_utf8_lossy(ours)
            .split(' ')
            .skip_while(|word| !word.ends_with("m=audio"))
            .nth(1)
            .map(String::from);
        let body = String::from_utf8_lossy(response.body())
            .replace(&format!("audio {} ", port.expect("a port")), "audio PORT ");
        let streams: Vec<_> = body.lines().filter(|line| line.starts_with("m=")).collect();
        io.note(call, format!("{status} {}", streams.join(" | ")));
        if status >= 300 && !OFFERS[call.number].answered.is_empty() {
            io.request(call, "BYE", "");
        }
    }
}

#[test]
fn further_streams_are_refused_one_by_one_and_the_audio_goes_on() {
    let place = Place::new();
    let names: Vec<&str> = OFFERS.iter().map(|offer| offer.name).collect();
    let (notes, calls) = run_against(&place, FarEnd::start(Offers), OFFERS.len(), &["load.duration=3s"], 0);
    for (number, offer) in OFFERS.iter().enumerate() {
        let noted: Vec<_> =
            notes.iter().filter(|(n, _)| *n == number).map(|(_, text)| text.as_str()).collect();
        let wanted = match offer.answered {
            [] => "488 ".to_string(),
            streams => format!("200 {}", streams.join(" | ")),
        };
        // A 200 may come again before its ACK has.
        assert!(!noted.is_empty() && noted.iter().all(|text| *text == wanted), "{}: {noted:?}", offer.name);
    }
    assert_all_went_well(&place, &calls, &names);
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains("its offer in mid-call was refused with 488: no audio stream"), "{remarks}");
}

#[test]
fn a_far_end_that_hangs_up_for_a_refused_offer_is_told_of_by_the_offer() {
    /// Wants another codec after a second, and hangs up without it.
    struct Other;
    impl Odd for Other {
        fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
            io.later(call, Duration::from_millis(2500));
        }

        fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
            if call.is_up {
                let sdp = call.description().replace("AVP 0", "AVP 8");
                io.request(call, "INVITE", &sdp);
            }
        }

        fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
            if response.status() == Some(488) {
                io.acknowledge(call, response);
                io.request(call, "BYE", "");
            }
        }
    }
    let place = Place::new();
    let set = ["load.duration=4s", "gates.require=[]"];
    let (_, calls) = run_against(&place, FarEnd::start(Other), 1, &set, 0);
    let told =
        "its offer in mid-call was refused with 488: no common codec: offered PCMU, answered `8` (PCMA)";
    assert_eq!((&*calls[0]["ending"], &*calls[0]["reason"]), ("remote_hangup", told), "{calls:?}");
    let finding = place.summary()["findings"][0].clone();
    assert_eq!(finding["name"], "offer_refused", "{finding}");
}
