//! Presence of a pair, requirement by requirement.

mod pair_rig;

#[path = "presence_pair"]
mod presence_pair {
    mod appendix_a;
    mod contact_watches;
    mod crash;
    mod extras;
    mod farewells;
    mod formats;
    mod ghosts;
    mod lasting;
    mod user_watches;
}
