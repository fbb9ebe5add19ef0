-- Prosody in the closed world: plain text for the world's own clients; what servers may do is up to the scenario.
run_as_root = true
data_path = "{{folder}}/data"
plugin_paths = { }
interfaces = { "{{address}}" }
use_ipv6 = false
log = { { levels = { min = "debug" }, to = "console" } }

-- No DNSSEC in this world, whichever resolver Prosody was packaged with.
unbound = { resolvconf = true; hoststxt = false; trusted = false }

modules_enabled = {
    "disco";
    "ping";
    "register";
    "roster";
    "saslauth";
    "version";{{modules}}
}

-- Clients
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
allow_registration = true

-- Servers
s2s_require_encryption = {{require_encryption}}
s2s_secure_auth = {{secure_auth}}
{{direct_tls}}ssl = { cafile = "{{roots}}"; capath = false }
{{hosts}}
