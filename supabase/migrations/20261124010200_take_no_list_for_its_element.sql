-- is_box, is_prompt and are_needs took ["positive"] for "positive" and [null] for null: a path's `==`
-- looks into an array. No worker could read such a prompt. type() does not look into it.

create or replace function segmentation.is_box(p_box jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_path_match(p_box, '
        $.type() == "object"
        && !exists($.keyvalue() ? (@.key != "xyxy" && @.key != "label"))
        && (!exists($.label) || (
            $.label.type() == "string" && ($.label == "positive" || $.label == "negative")
        ))
        && $.xyxy.type() == "array" && $.xyxy.size() == 4
        && $.xyxy[0].type() == "number" && $.xyxy[1].type() == "number"
        && $.xyxy[2].type() == "number" && $.xyxy[3].type() == "number"
        && $.xyxy[0] >= 0 && $.xyxy[0] < $.xyxy[2]
        && $.xyxy[1] >= 0 && $.xyxy[1] < $.xyxy[3]
    ', silent => true), false);
$$;

create or replace function segmentation.is_prompt(p_prompt jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select
        coalesce(jsonb_path_match(p_prompt, '
            $.type() == "object"
            && !exists($.keyvalue() ? (
                @.key != "id" && @.key != "text" && @.key != "boxes" && @.key != "threshold"
            ))
            && (!exists($.id) || $.id.type() == "null" || $.id.type() == "string")
            && (!exists($.text) || $.text.type() == "null" || $.text.type() == "string")
            && (!exists($.boxes) || ($.boxes.type() == "array" && $.boxes.size() <= 32))
            && (!exists($.threshold) || $.threshold.type() == "null" || (
                $.threshold.type() == "number" && $.threshold >= 0 && $.threshold <= 1
            ))
        ', silent => true), false)
        and coalesce(char_length(p_prompt ->> 'id') between 1 and 64, true)
        and not exists (
            select 1 from jsonb_path_query(p_prompt, '$.boxes[*]') as box where not segmentation.is_box(box)
        );
$$;

create or replace function segmentation.are_needs(p_needs jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_path_match(p_needs, '
        $.type() == "object"
        && !exists($.keyvalue() ? (
            @.key != "model_revision" && @.key != "dtype" && @.key != "memory_mb" && @.key != "pixels"
        ))
        && (
            !exists($.model_revision)
            || $.model_revision.type() == "null" || $.model_revision.type() == "string"
        )
        && (!exists($.dtype) || $.dtype.type() == "null" || (
            $.dtype.type() == "string" && ($.dtype == "fp32" || $.dtype == "bf16" || $.dtype == "fp16")
        ))
        && (!exists($.memory_mb) || $.memory_mb.type() == "null" || (
            $.memory_mb.type() == "number" && $.memory_mb >= 0 && $.memory_mb <= 1048576
            && $.memory_mb.floor() == $.memory_mb
        ))
        && (!exists($.pixels) || $.pixels.type() == "null" || (
            $.pixels.type() == "number" && $.pixels >= 0 && $.pixels < 2147483648
            && $.pixels.floor() == $.pixels
        ))
    ', silent => true), false)
    and coalesce(char_length(p_needs ->> 'model_revision') <= 200, true);
$$;
