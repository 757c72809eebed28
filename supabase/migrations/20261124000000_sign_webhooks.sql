-- Standard Webhooks signatures in SQL, without an extension: HMAC-SHA256 (RFC 2104) over sha256().

create function segmentation.hmac_sha256(p_key bytea, p_message bytea)
returns bytea
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    key bytea := case when octet_length(p_key) > 64 then sha256(p_key) else p_key end;
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
begin
    for place in 0..octet_length(key) - 1 loop
        inner_pad := set_byte(inner_pad, place, get_byte(key, place) # 54);
        outer_pad := set_byte(outer_pad, place, get_byte(key, place) # 92);
    end loop;
    return sha256(outer_pad || sha256(inner_pad || p_message));
end;
$$;
comment on function segmentation.hmac_sha256 is 'HMAC-SHA256 of RFC 2104.';
revoke execute on function segmentation.hmac_sha256 from public;

create function segmentation.new_webhook_secret()
returns text
language sql
volatile
security invoker
set search_path = ''
as $$
    -- Two random uuids are 32 bytes, 244 of their bits by the strong random source.
    select 'whsec_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64');
$$;
comment on function segmentation.new_webhook_secret is 'A new secret in Standard Webhooks'' spelling.';
revoke execute on function segmentation.new_webhook_secret from public;

create function segmentation.webhook_signature(p_secret text, p_id text, p_timestamp bigint, p_body text)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select 'v1,' || encode(segmentation.hmac_sha256(
        decode(substr(p_secret, 7), 'base64'),
        convert_to(format('%s.%s.%s', p_id, p_timestamp, p_body), 'UTF8')
    ), 'base64');
$$;
comment on function segmentation.webhook_signature is
'One signature of the header webhook-signature (Standard Webhooks 1.0), over the body''s UTF-8 bytes.';
revoke execute on function segmentation.webhook_signature from public;
