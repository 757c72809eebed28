-- The part of pgcrypto that can be said in SQL over PostgreSQL's own hash functions.

create function digest(data bytea, type text) returns bytea
language plpgsql immutable strict parallel safe
as $$
begin
    return case lower(type)
        when 'md5' then decode(md5(data), 'hex')
        when 'sha224' then sha224(data)
        when 'sha256' then sha256(data)
        when 'sha384' then sha384(data)
        when 'sha512' then sha512(data)
    end;
end;
$$;

create function digest(data text, type text) returns bytea
language sql immutable strict parallel safe
as $$ select @extschema@.digest(convert_to(data, 'UTF8'), type) $$;

create function hmac(data bytea, key bytea, type text) returns bytea
language plpgsql immutable strict parallel safe
as $$
declare
    block_bytes int := case when lower(type) in ('sha384', 'sha512') then 128 else 64 end;
    padded bytea := key;
    inner_pad bytea;
    outer_pad bytea;
    b int;
begin
    if length(padded) > block_bytes then
        padded := @extschema@.digest(padded, type);
    end if;
    padded := padded || decode(repeat('00', block_bytes - length(padded)), 'hex');
    inner_pad := padded;
    outer_pad := padded;
    for i in 0..block_bytes - 1 loop
        b := get_byte(padded, i);
        inner_pad := set_byte(inner_pad, i, b # 54);
        outer_pad := set_byte(outer_pad, i, b # 92);
    end loop;
    return @extschema@.digest(outer_pad || @extschema@.digest(inner_pad || data, type), type);
end;
$$;

create function hmac(data text, key text, type text) returns bytea
language sql immutable strict parallel safe
as $$ select @extschema@.hmac(convert_to(data, 'UTF8'), convert_to(key, 'UTF8'), type) $$;

-- 122 random bits of each version-4 UUID, three UUIDs to one hash of 256 bits.
create function gen_random_bytes(n int) returns bytea
language plpgsql volatile strict parallel safe
as $$
declare
    bytes bytea := '';
begin
    if n < 1 or n > 1024 then
        raise exception 'Length not in range' using errcode = '39000';
    end if;
    while length(bytes) < n loop
        bytes := bytes || sha256(
            uuid_send(pg_catalog.gen_random_uuid())
            || uuid_send(pg_catalog.gen_random_uuid())
            || uuid_send(pg_catalog.gen_random_uuid())
        );
    end loop;
    return substr(bytes, 1, n);
end;
$$;

create function gen_random_uuid() returns uuid
language sql volatile parallel safe
as $$ select pg_catalog.gen_random_uuid() $$;
