-- The hashes of customers as the members of a JSON object, without its braces; a null for who has none.
-- KEYS one a customer, 100 at most: nobody else is answered meanwhile.
-- The texts of the contract are JSON already, but for quotes around what is text; what is empty is null.
local TOKEN, TEXT, NAME = 1, 2, 3  -- a number or an array; a text of plain characters; one of any
local FIELDS = {
  {'segment', NAME}, {'segment_id', TOKEN}, {'previous_segment', NAME}, {'segment_since', TEXT}, {'cluster', TOKEN},
  {'rfm', TEXT}, {'predicted_demand', TOKEN}, {'predicted_demand_high', TOKEN}, {'predicted_orders', TOKEN},
  {'p_buy', TOKEN}, {'customer_value', TOKEN}, {'orders', TOKEN}, {'spend', TOKEN}, {'average_order_value', TOKEN},
  {'total_value', TOKEN}, {'first_purchase_at', TEXT}, {'last_purchase_at', TEXT}, {'last_event_at', TEXT},
  {'mean_days_between_orders', TOKEN}, {'expected_next_order_at', TEXT}, {'next_offers', TOKEN}, {'source', TEXT},
  {'demand_horizon_days', TOKEN}, {'scored_at', TEXT}, {'model_version', TEXT}, {'schema', TOKEN},
}
local names, forms = {}, {}
for j, field in ipairs(FIELDS) do names[j], forms[j] = field[1], '"' .. field[1] .. '":%s' end
local form, last = table.concat(forms, ','), #FIELDS

local laid_out = {}
for i, key in ipairs(KEYS) do
  local found = redis.call('HMGET', key, unpack(names))
  if found[1] or found[last] then
    for j = 1, last do
      local text, kind = found[j], FIELDS[j][2]
      if not text or text == '' then found[j] = 'null'
      elseif kind == TEXT then found[j] = '"' .. text .. '"'
      elseif kind == NAME then found[j] = cjson.encode(text) end
    end
    laid_out[i] = string.format(form, unpack(found, 1, last))
  else
    laid_out[i] = false
  end
end
return laid_out
