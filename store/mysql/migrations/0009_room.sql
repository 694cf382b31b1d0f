-- What a claim writes has its room in the row from the start: a row that grows moves in its
-- page, and pages that were filled split. No claim has this token, and nobody reads the three
-- of a message that is not leased.
alter table posthorn_message
  alter column token set default '--------------------------',
  alter column worker set default '--------------------',
  alter column claimed_at set default 0;
