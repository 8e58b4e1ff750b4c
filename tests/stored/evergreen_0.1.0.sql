-- The database `evergreen` as Evergreen 0.1.0 left it, before its tables had numbered migrations: seven days ingested, a training, a
-- deployment, predictions with and without an Idempotency-Key, two monitored days, a second version, a rollback. Never edited: a
-- release that cannot open it cannot open what its users have.

CREATE TABLE public.answers (
    model text NOT NULL,
    key text NOT NULL,
    body bytea NOT NULL,
    request_id text NOT NULL,
    content bytea NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.audit (
    id text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    as_of timestamp with time zone,
    model text NOT NULL,
    event text NOT NULL,
    version bigint,
    actor text NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL
);

CREATE TABLE public.candidates (
    run_id text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    model text NOT NULL,
    family text NOT NULL,
    model_id text NOT NULL,
    files jsonb NOT NULL
);

CREATE TABLE public.partitions (
    model text NOT NULL,
    layer text NOT NULL,
    name text NOT NULL,
    partition text NOT NULL,
    rows bigint NOT NULL,
    content_hash text NOT NULL,
    inputs_hash text,
    table_version bigint NOT NULL,
    known_at timestamp with time zone NOT NULL
);

CREATE TABLE public.predictions (
    model text NOT NULL,
    version bigint NOT NULL,
    request_id text NOT NULL,
    "position" integer NOT NULL,
    entity text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    features_at timestamp with time zone,
    features jsonb NOT NULL,
    prediction double precision NOT NULL,
    logged_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.versions (
    model text NOT NULL,
    number bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    run_id text NOT NULL,
    key text NOT NULL,
    as_of timestamp with time zone NOT NULL
);

INSERT INTO public.answers VALUES
	('parcels', 'order-7-0', '\xacba92517ae06646d7604c9685b5b08349143f5df9e64cec6e1531ace7c2f935', '31204e9384d341c9a06ea2f2647b081f', '\x7b22726571756573745f6964223a223331323034653933383464333431633961303665613266323634376230383166222c226d6f64656c223a2270617263656c73222c2276657273696f6e223a312c2261735f6f66223a22323032362d30312d30385430303a31393a33352b30303a3030222c2270726564696374696f6e73223a5b7b2270617263656c5f6964223a2232303236303130382d303030222c2270726564696374696f6e223a362e3339363239373037353335373232392c2266656174757265735f6174223a22323032362d30312d30385430303a30303a30302b30303a3030227d5d7d', '2026-11-27 20:32:54.936767+00'),
	('parcels', 'order-7-2', '\x3c034228e0fce660e6dc2307409a20be4a0eb269529e1019bfca140eeae98b08', '837dbde442fc44cbae752e00707d7015', '\x7b22726571756573745f6964223a223833376462646534343266633434636261653735326530303730376437303135222c226d6f64656c223a2270617263656c73222c2276657273696f6e223a312c2261735f6f66223a22323032362d30312d30385431313a30343a35392b30303a3030222c2270726564696374696f6e73223a5b7b2270617263656c5f6964223a2232303236303130382d313230222c2270726564696374696f6e223a31312e3635333734383237353134393131362c2266656174757265735f6174223a22323032362d30312d30385430303a30303a30302b30303a3030227d5d7d', '2026-11-27 20:32:54.992157+00'),
	('parcels', 'order-8-0', '\x3aafb3a7da0df1fa2ec42b3e1930e2bf3e5196f165abd4e2b2f44d34c769ae2a', '2337d44d2aa647a4ac4efe894237534b', '\x7b22726571756573745f6964223a223233333764343464326161363437613461633465666538393432333735333462222c226d6f64656c223a2270617263656c73222c2276657273696f6e223a312c2261735f6f66223a22323032362d30312d30395430303a30343a35352b30303a3030222c2270726564696374696f6e73223a5b7b2270617263656c5f6964223a2232303236303130392d303030222c2270726564696374696f6e223a31302e3633343130313637353430303537342c2266656174757265735f6174223a22323032362d30312d30395430303a30303a30302b30303a3030227d5d7d', '2026-11-27 20:32:58.053593+00'),
	('parcels', 'order-8-2', '\x040e61b249b71c98dff87dbf9508384a1ff9d76f872341aaeaf432434a2c7ee2', '800c391a035c4793a6eed5146ca69dce', '\x7b22726571756573745f6964223a223830306333393161303335633437393361366565643531343663613639646365222c226d6f64656c223a2270617263656c73222c2276657273696f6e223a312c2261735f6f66223a22323032362d30312d30395431323a35363a34312b30303a3030222c2270726564696374696f6e73223a5b7b2270617263656c5f6964223a2232303236303130392d313230222c2270726564696374696f6e223a392e3831313638343537323839363233352c2266656174757265735f6174223a22323032362d30312d30395430303a30303a30302b30303a3030227d5d7d', '2026-11-27 20:32:58.105666+00'),
	('parcels', 'order-of-2', '\x76897db135b109c7af6e57f381c3554986926617374f275604f88179426beb6c', '80c0edef59fa453590f21966823cc47d', '\x7b22726571756573745f6964223a223830633065646566353966613435333539306632313936363832336363343764222c226d6f64656c223a2270617263656c73222c2276657273696f6e223a322c2261735f6f66223a22323032362d30312d31305430303a33363a30332b30303a3030222c2270726564696374696f6e73223a5b7b2270617263656c5f6964223a2232303236303131302d303033222c2270726564696374696f6e223a31352e323330323932353330343033312c2266656174757265735f6174223a22323032362d30312d31305430303a30303a30302b30303a3030227d5d7d', '2026-11-27 20:33:06.470242+00');

INSERT INTO public.audit VALUES
	('promotion/parcels/1', '2026-11-27 20:32:54.751282+00', '2026-01-08 00:00:00+00', 'parcels', 'promotion', 1, 'run local__2026-01-08T0000Z', 'manual', '{"key": "c3b63ce61b5fb8e4", "replaced": null, "decision_id": null, "mlflow_run_id": "28847994fc454e5bb97c9bb7be95db44"}'),
	('alert/c08d916d38fe', '2026-11-27 20:32:58.017683+00', '2026-01-09 00:00:00+00', 'parcels', 'alert', NULL, 'monitor', 'only 4 predictions (at least 50); a data incident: nothing is retrained', '{"decision_id": "c08d916d38fe"}'),
	('alert/0468b5aa207d', '2026-11-27 20:33:00.005512+00', '2026-01-10 00:00:00+00', 'parcels', 'alert', NULL, 'monitor', 'only 4 predictions (at least 50); a data incident: nothing is retrained', '{"decision_id": "0468b5aa207d"}'),
	('promotion/parcels/2', '2026-11-27 20:33:06.377262+00', '2026-01-10 00:00:00+00', 'parcels', 'promotion', 2, 'run local__2026-01-10T0000Z', 'manual', '{"key": "218f258a319beb16", "replaced": 1, "decision_id": null, "mlflow_run_id": "c706808c81ae4e33a8716c31eb06a940"}'),
	('rollback/parcels/2', '2026-11-27 20:33:06.605897+00', '2026-01-10 00:00:00+00', 'parcels', 'rollback', 1, 'someone', 'customers complained', '{"to": 1, "from": 2}');

INSERT INTO public.candidates VALUES
	('4d05ee613d48475c8e76566df6304515', '2026-11-27 20:33:00.663565+00', 'parcels', 'ridge', 'm-61931334f64c4c86844aee0e7866ab61', '{"spec.json": {"size": 3117, "sha256": "d91c6090de52d237889236ab9919c883c9a33e39ebfb61cf2afff8f79c8b013e"}, "model.skops": {"size": 132778, "sha256": "e88f14f59d8e28999c99b05ac57bbf2e198e9413e453f7a85b0b551720614ccf"}, "sample.json": {"size": 4885, "sha256": "21c028eab521640f36c214aa08ffd62793aa04d9f9fce0e62bf7972acd3b954c"}, "trials.json": {"size": 337, "sha256": "833dff77d18e2bb7e426befb483cde4853599ee4d3376c29120307a338c0dc8e"}, "evaluation.json": {"size": 672, "sha256": "a7691ccddaf18a4d01d1a90c4053e582af5487d110518722d2670250f18bd6fa"}, "environment.json": {"size": 337, "sha256": "a3195dd270d3dfa002d00d812bf4d7b6289e8b4a45e175b14394c303b8558f92"}, "reference.parquet": {"size": 28696, "sha256": "3a99e9aac44350732c4270b24a65e1d729293b088f08d92acab32cf5d468ddec"}}'),
	('a3b250099a594543899f832d8f8471dc', '2026-11-27 20:32:44.445494+00', 'parcels', 'gradient_boosting', 'm-eb50166620c24f03810b7d882a11c70e', '{"spec.json": {"size": 3117, "sha256": "d91c6090de52d237889236ab9919c883c9a33e39ebfb61cf2afff8f79c8b013e"}, "model.skops": {"size": 520522, "sha256": "3b0d1a9f81d1bd31b9db03b6ee07dabcaf993ffb1c2b52f9796ed60d5ace119b"}, "sample.json": {"size": 4812, "sha256": "a3c9f1b688a890faeaa052d3a960c87a1fa7bc3981a2fa763b1e54afbc6d321c"}, "trials.json": {"size": 718, "sha256": "302c519a37679b74ad1bc57e6cf1a34ab7e669b805d91e06c5fa1d27a5266547"}, "evaluation.json": {"size": 313, "sha256": "e1fcba90fc9bc65425eaf2feddf7f017b1f2616d3c68f02d77865a61f52d2939"}, "environment.json": {"size": 337, "sha256": "a3195dd270d3dfa002d00d812bf4d7b6289e8b4a45e175b14394c303b8558f92"}, "reference.parquet": {"size": 20703, "sha256": "cefc049b01764bae8be0892a3c99ff818812c9241f028a2c4019e084c795152c"}}'),
	('698ceb26228c43e6ae7adeb882f83035', '2026-11-27 20:32:50.424964+00', 'parcels', 'mlp', 'm-0ab864c5ad4343e6ac1e278e0ec75f6f', '{"spec.json": {"size": 3117, "sha256": "d91c6090de52d237889236ab9919c883c9a33e39ebfb61cf2afff8f79c8b013e"}, "model.skops": {"size": 152130, "sha256": "8f3522198d5dd99ff0392fb4f06884f49541fcacc158018779265cb3859ae466"}, "sample.json": {"size": 4813, "sha256": "2930ff42b74a68051e5468735721cbe097a81b2beb6e3812d63041c6b6c87036"}, "trials.json": {"size": 686, "sha256": "0b1073e2ca4bf3c56bd8a341ce813dcc298a1dcb59631f1241c068703eadca6c"}, "evaluation.json": {"size": 313, "sha256": "2fcdf336616e116b5b2c90dc4897460a0654971b37d1f771069efd897da7f14c"}, "environment.json": {"size": 337, "sha256": "a3195dd270d3dfa002d00d812bf4d7b6289e8b4a45e175b14394c303b8558f92"}, "reference.parquet": {"size": 20815, "sha256": "3dc9ec6626471d31038f4b855d72dc345312859a40dab35c4a0e847ee75ace7c"}}'),
	('28847994fc454e5bb97c9bb7be95db44', '2026-11-27 20:32:41.74916+00', 'parcels', 'ridge', 'm-6f69f697c64c487991ed0493300bff39', '{"spec.json": {"size": 3117, "sha256": "d91c6090de52d237889236ab9919c883c9a33e39ebfb61cf2afff8f79c8b013e"}, "gates.json": {"size": 820, "sha256": "49d04011e4476ef17520c9b65d35b58cfbffae16750acb5c1aee986ef1baa122"}, "model.skops": {"size": 132779, "sha256": "62f808f113daa6f0f06d93cb74fe38eb665023aa44ec96f68e3a862e02bd25e7"}, "sample.json": {"size": 4810, "sha256": "737d1dc47a06de81d369e933a55fda34dd6b702843147a44acf48ff80b1a0e8e"}, "trials.json": {"size": 339, "sha256": "9dd9e7b541d958ca6944752f04bc81a2112d29aece7c4bdce611368ad74a2ae8"}, "evaluation.json": {"size": 312, "sha256": "c824cf5cb73f65a16d3e8f1e321f7c5d8cf58c27c6b6636eae4a41cce940d6a6"}, "environment.json": {"size": 337, "sha256": "a3195dd270d3dfa002d00d812bf4d7b6289e8b4a45e175b14394c303b8558f92"}, "reference.parquet": {"size": 20815, "sha256": "666b306ede1aaa2999d89f2336d1d89072ed0b098d2356c0ad4021288eaee210"}}'),
	('08acdff0450e42139f8c901d2d19a122', '2026-11-27 20:33:02.689309+00', 'parcels', 'mlp', 'm-40d3aed518164ca994cb2d98557efa81', '{"spec.json": {"size": 3117, "sha256": "d91c6090de52d237889236ab9919c883c9a33e39ebfb61cf2afff8f79c8b013e"}, "model.skops": {"size": 152130, "sha256": "a872b96e90ee8506b8a23ff6213b91cc3b188bddcd5cf59a4013dbc59564b456"}, "sample.json": {"size": 4887, "sha256": "324d91fa28c61167fefd14dc70d31cea0f2a727dbee723aaa0fe1d8213ab7106"}, "trials.json": {"size": 684, "sha256": "e3dc19b2f0c082d8b9299d5a9ef72d4b2c37fc9a4f8f57edbe52df070c0d50fe"}, "evaluation.json": {"size": 672, "sha256": "dbc40340cd40577f016ab75235a96855e7bbe6c70e057a030985223d90e9fe0c"}, "environment.json": {"size": 337, "sha256": "a3195dd270d3dfa002d00d812bf4d7b6289e8b4a45e175b14394c303b8558f92"}, "reference.parquet": {"size": 28696, "sha256": "b5706f86d2b0297d4e42854fd818219fb821dd7aa87915c030e1fad51a7315de"}}'),
	('c706808c81ae4e33a8716c31eb06a940', '2026-11-27 20:33:01.198035+00', 'parcels', 'gradient_boosting', 'm-633d32dafc294deaa47f224fad4d2406', '{"spec.json": {"size": 3117, "sha256": "d91c6090de52d237889236ab9919c883c9a33e39ebfb61cf2afff8f79c8b013e"}, "gates.json": {"size": 1083, "sha256": "db1746024e86c7b2aaa1cb909d3d49aab6d57d47594c2f97e1c811f9ae3d525e"}, "model.skops": {"size": 405091, "sha256": "cb76061559bef209b238dbb603006a9fed95a33fcd4c1362a3261b0b652cbb6e"}, "sample.json": {"size": 4884, "sha256": "fbca4e23df08bb044d5cbedcb12a3f8e55ddd3785333872b736eaca43db7771c"}, "trials.json": {"size": 717, "sha256": "2f5a5495376da451a565709b4de3ea67b6268e543d923ae4ea3beaf18a95b70f"}, "evaluation.json": {"size": 671, "sha256": "55b64379367b99372c4d57422a9b8c2490d9d9f83c1ca8517e27ff5c0c989feb"}, "environment.json": {"size": 337, "sha256": "a3195dd270d3dfa002d00d812bf4d7b6289e8b4a45e175b14394c303b8558f92"}, "reference.parquet": {"size": 28552, "sha256": "ac7cb1c47fca53e17315d8c1a392157b074dc8fbd9dc05b7a9d1ba05837e1e2e"}}');

INSERT INTO public.partitions VALUES
	('parcels', 'raw', 'parcels', '2026-01-01', 240, 'f2ee5c75278239cddd8b1b0c162f81fc', NULL, 1, '2026-01-02 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-01', 24, '6103702a237acf2f7d2f9a6603bcec6f', NULL, 1, '2026-01-02 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-01', 12, 'c63270506a9179720130b9bb58f0c39b', '80531616c9b1f7a3e6e3a41056d961fad0aadeadb4eec5544434bb936b60b833', 1, '2026-01-02 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-01', 3, '1e473b98ce876750f5384909110625b9', '94b09080d06269ae8f70acfce4b347c4a0a2865fb069f1e6ce034b17a54322ba', 1, '2026-01-02 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-01', 12, 'c63270506a9179720130b9bb58f0c39b', '80531616c9b1f7a3e6e3a41056d961fad0aadeadb4eec5544434bb936b60b833', 1, '2026-01-02 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-01', 3, '1e473b98ce876750f5384909110625b9', '94b09080d06269ae8f70acfce4b347c4a0a2865fb069f1e6ce034b17a54322ba', 1, '2026-01-02 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-02', 240, '189031e2ce46db12b0cc21ff529a4c56', NULL, 2, '2026-01-03 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-02', 24, '8f92705126ee002db53d1ebd64be7f57', NULL, 2, '2026-01-03 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-02', 12, '4adfb0bec03d6ec568edc7627949f91a', '7d7ef16f6a944fb63d669956f3e9151796b74e93018eabb53dc440248b8fd9a2', 2, '2026-01-03 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-02', 3, 'a15ce4287723d35ffdcca72cf7b67d93', 'db3751bee32289f5de5859841dd5d2b23c27023cd4f5347f24247d4bf19148a6', 2, '2026-01-03 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-01', 231, 'd4e79897008b81bba296a0209b8f43b4', '44be5823bb913d3a5ed429ad221fdff3002116b5ab64e03546d0b1efaab42060', 1, '2026-01-03 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-02', 12, '4adfb0bec03d6ec568edc7627949f91a', '7d7ef16f6a944fb63d669956f3e9151796b74e93018eabb53dc440248b8fd9a2', 2, '2026-01-03 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-02', 3, 'a15ce4287723d35ffdcca72cf7b67d93', 'db3751bee32289f5de5859841dd5d2b23c27023cd4f5347f24247d4bf19148a6', 2, '2026-01-03 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-03', 240, '33a92fd57d454abb194974b8e74b1ed0', NULL, 3, '2026-01-04 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-03', 24, '7dbfda451094409d9d7068b655082cc8', NULL, 3, '2026-01-04 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-03', 12, 'f48504c36773700f92a64cf9895abbe3', 'af9e4f34325716f667014b34f004e61f59967b58f117c892b71b2c17105ebd04', 3, '2026-01-04 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-03', 3, '48ffb241ad0a91928d32ff13ed36c305', '6327da9ea86337b45d82bc8552eb6490a233d13c596e242fdad00d7360f48509', 3, '2026-01-04 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-02', 237, 'edf6fee1ff3f7e89136c9020919a73cb', '59c24f2d954b8e41a4bedec91830b00263cb8a7e91c8d20e8d2d7df318091e57', 2, '2026-01-04 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-03', 12, 'f48504c36773700f92a64cf9895abbe3', 'af9e4f34325716f667014b34f004e61f59967b58f117c892b71b2c17105ebd04', 3, '2026-01-04 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-03', 3, '48ffb241ad0a91928d32ff13ed36c305', '6327da9ea86337b45d82bc8552eb6490a233d13c596e242fdad00d7360f48509', 3, '2026-01-04 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-04', 240, 'fa8c09acaeecc9a1a8939528b8b23d14', NULL, 4, '2026-01-05 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-04', 24, 'd0a97276cfe8b02a0792807e30a2388b', NULL, 4, '2026-01-05 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-04', 12, '7ba560ee17f8d777eb89d047f1bb3ac6', '8020157d5e29d838ec57814e0565b5368c585911c8d97ef3eb1fd93ab89e2336', 4, '2026-01-05 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-04', 3, 'ba82d11a31618e03c5d4ab96a55615a1', '5eae6519a38afaa25f5ff63d597338e4bb74fe3569e6b42bf2fc15f93775836a', 4, '2026-01-05 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-03', 228, 'bebc44690711aa75e5ca28d7d0d76977', '38a94cb83b7ef1a088a7d053d540df1fd7654979b5178d4ed1c8c85f2b06765a', 3, '2026-01-05 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-04', 12, '7ba560ee17f8d777eb89d047f1bb3ac6', '8020157d5e29d838ec57814e0565b5368c585911c8d97ef3eb1fd93ab89e2336', 4, '2026-01-05 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-04', 3, 'ba82d11a31618e03c5d4ab96a55615a1', '5eae6519a38afaa25f5ff63d597338e4bb74fe3569e6b42bf2fc15f93775836a', 4, '2026-01-05 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-05', 240, 'de9f43dff9b16d64907f9b209f0dd43f', NULL, 5, '2026-01-06 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-05', 24, '97e95ba7d5004f81c1e11eca0ca86986', NULL, 5, '2026-01-06 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-05', 12, '0c1f6701d3fdc4da44828f387e84660a', '0458e40695dd21c372519dfae31ef698b7dd097a7bc7209d8177a13ec5c181a2', 5, '2026-01-06 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-05', 3, '32b2935e0d36e363468efb9a151483af', '37877c94946f07cf34767a26d12ccb2818ba52c5d6ab758a587f92d4bcc4da43', 5, '2026-01-06 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-04', 236, 'c1133a7d83b1e34f2099c4440c8ead90', '2da9b7521f85447c2866d7ee3cde732cce54435117da3fb1769174e2758facde', 4, '2026-01-06 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-05', 12, '0c1f6701d3fdc4da44828f387e84660a', '0458e40695dd21c372519dfae31ef698b7dd097a7bc7209d8177a13ec5c181a2', 5, '2026-01-06 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-05', 3, '32b2935e0d36e363468efb9a151483af', '37877c94946f07cf34767a26d12ccb2818ba52c5d6ab758a587f92d4bcc4da43', 5, '2026-01-06 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-06', 240, '5ad000707345c0c24ac200af938fd4db', NULL, 6, '2026-01-07 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-06', 24, 'b064b5d0f9442fc5c19c24797a38d3f1', NULL, 6, '2026-01-07 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-06', 12, '99f7e16bc8d82f869560f5018b574d68', '279bc8f69aefcb69d56a2d46d9a725baca866287da0c8f8501b48e6b40d2e9a6', 6, '2026-01-07 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-06', 3, 'cdef8f20031ce1657445410ab95f3b1a', 'bb6ccf6e337118dd08f648cfd71343fe8818972b7077de16db05bb369a58a506', 6, '2026-01-07 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-05', 236, 'e0d113467f4004ba3642b3e8d75009e3', '8b2465e42a535b141469b48407d7c9554a64f2f861d1aaa276ae221ff60ef012', 5, '2026-01-07 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-06', 12, '99f7e16bc8d82f869560f5018b574d68', '279bc8f69aefcb69d56a2d46d9a725baca866287da0c8f8501b48e6b40d2e9a6', 6, '2026-01-07 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-06', 3, 'cdef8f20031ce1657445410ab95f3b1a', 'bb6ccf6e337118dd08f648cfd71343fe8818972b7077de16db05bb369a58a506', 6, '2026-01-07 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-07', 240, 'a8abe6b2c01eff03c719bb9800df50a1', NULL, 7, '2026-01-08 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-07', 24, 'dd859a1ed2a5c0d30517f02df464a2fa', NULL, 7, '2026-01-08 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-07', 12, '0722ff918ef8d3c315b574bbf32418c3', 'd3adbd7130954693dd24360575819d2f8bf57d4f7441673ba038209fccbd8f02', 7, '2026-01-08 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-07', 3, '8885c6abc073e4584d2a66ee57e75241', 'ad73635534bdd73a6de2a3981b6f20523e8b4dac4ee285e46da6df301f77a8fc', 7, '2026-01-08 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-06', 236, 'aef252318afc10b81dfa8dbae1f5bf8c', '368b79c8a83dbc50e7d6b7a352001a8af978453c109d789acc348f40f21574cb', 6, '2026-01-08 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-07', 12, '0722ff918ef8d3c315b574bbf32418c3', 'd3adbd7130954693dd24360575819d2f8bf57d4f7441673ba038209fccbd8f02', 7, '2026-01-08 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-07', 3, '8885c6abc073e4584d2a66ee57e75241', 'ad73635534bdd73a6de2a3981b6f20523e8b4dac4ee285e46da6df301f77a8fc', 7, '2026-01-08 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-08', 240, '13995f5972a1e67aafb098f06acc1f87', NULL, 8, '2026-01-09 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-08', 24, '44fabf6514b2d047e3548490d0d125b7', NULL, 8, '2026-01-09 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-08', 12, '1af0316e01f8b328b2c79e6adf88f601', '41d0373050bd843e3a1658418026bbc57422e1c465b91738c4b55231386a959e', 8, '2026-01-09 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-08', 3, 'd30ecbca026c42a2fc57aa92f6209fd4', 'b1ba47cee25292f85014e14fdd6d3aa7e9661b0e97d6ffe811acc40fc8f5c2af', 8, '2026-01-09 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-07', 232, '6b3f89b48ba37d4d937b31874351b51b', 'a5efc9ecea049ef91141505c99d010556063cbd48b075064c4862b80772d88d7', 7, '2026-01-09 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-08', 12, '1af0316e01f8b328b2c79e6adf88f601', '41d0373050bd843e3a1658418026bbc57422e1c465b91738c4b55231386a959e', 8, '2026-01-09 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-08', 3, 'd30ecbca026c42a2fc57aa92f6209fd4', 'b1ba47cee25292f85014e14fdd6d3aa7e9661b0e97d6ffe811acc40fc8f5c2af', 8, '2026-01-09 00:00:00+00'),
	('parcels', 'predictions', 'live', '2026-01-08', 4, '028034671e2dad30c8a0cd79cb6a6519', NULL, 1, '2026-01-09 00:00:00+00'),
	('parcels', 'raw', 'parcels', '2026-01-09', 240, 'cdeee93e19960918e3e420b5b844eae7', NULL, 9, '2026-01-10 00:00:00+00'),
	('parcels', 'raw', 'roads', '2026-01-09', 24, 'cc6f9c0129c9cf3783cb4b71c94787f4', NULL, 9, '2026-01-10 00:00:00+00'),
	('parcels', 'features', 'shop_record', '2026-01-09', 12, '8393628d7d17243c19ccd1d0765d369d', 'ba31a5c7aa6fb4b65b765cec2b731cf5c3ce91df1924d128a0cf29d6d95981a4', 9, '2026-01-10 00:00:00+00'),
	('parcels', 'features', 'depot_load', '2026-01-09', 3, '809ebbbc21a5a12d6526ea66ed9e8ab9', 'c869b883db6608ea888d56b45cc61a95bba9d2d4faa1f29a24d545ee136eba65', 9, '2026-01-10 00:00:00+00'),
	('parcels', 'labels', 'hours_to_delivery', '2026-01-08', 232, '11c8d3944c0ac9abc787af8aa80303c1', '45379874937459a791b8c23c737b2f96476390a2223a8bb02aaee307efa5908c', 8, '2026-01-10 00:00:00+00'),
	('parcels', 'online', 'shop_record', '2026-01-09', 12, '8393628d7d17243c19ccd1d0765d369d', 'ba31a5c7aa6fb4b65b765cec2b731cf5c3ce91df1924d128a0cf29d6d95981a4', 9, '2026-01-10 00:00:00+00'),
	('parcels', 'online', 'depot_load', '2026-01-09', 3, '809ebbbc21a5a12d6526ea66ed9e8ab9', 'c869b883db6608ea888d56b45cc61a95bba9d2d4faa1f29a24d545ee136eba65', 9, '2026-01-10 00:00:00+00'),
	('parcels', 'predictions', 'live', '2026-01-09', 4, '51c91311e2b04d44e9fe5e342768b4a7', NULL, 2, '2026-01-10 00:00:00+00');

INSERT INTO public.predictions VALUES
	('parcels', 1, '31204e9384d341c9a06ea2f2647b081f', 0, '20260108-000', '2026-01-08 00:19:35+00', '2026-01-08 00:00:00+00', '{"hour": 0, "weight": 2.72, "express": true, "congestion": 0.833, "shop_hours_3d": 9.278275862068964, "shop_parcels_3d": 46, "depot_parcels_1d": 83}', 6.396297075357229, '2026-11-27 20:32:54.936767+00'),
	('parcels', 1, '90681d7fa1974b71994ac3839f11c3c0', 0, '20260108-060', '2026-01-08 05:56:46+00', '2026-01-08 00:00:00+00', '{"hour": 5, "weight": 5.65, "express": false, "congestion": 0.775, "shop_hours_3d": 9.639999999999997, "shop_parcels_3d": 74, "depot_parcels_1d": 83}', 11.88802351188915, '2026-11-27 20:32:54.964927+00'),
	('parcels', 1, '837dbde442fc44cbae752e00707d7015', 0, '20260108-120', '2026-01-08 11:04:59+00', '2026-01-08 00:00:00+00', '{"hour": 11, "weight": 10.81, "express": true, "congestion": 0.864, "shop_hours_3d": 12.70255813953488, "shop_parcels_3d": 69, "depot_parcels_1d": 83}', 11.653748275149116, '2026-11-27 20:32:54.992157+00'),
	('parcels', 1, '410d7ebeaf914f588b9699faf46ceb97', 0, '20260108-180', '2026-01-08 18:19:06+00', '2026-01-08 00:00:00+00', '{"hour": 18, "weight": 3.21, "express": false, "congestion": 0.746, "shop_hours_3d": 13.72324324324324, "shop_parcels_3d": 60, "depot_parcels_1d": 77}', 15.793630980176665, '2026-11-27 20:32:55.017337+00'),
	('parcels', 1, '2337d44d2aa647a4ac4efe894237534b', 0, '20260109-000', '2026-01-09 00:04:55+00', '2026-01-09 00:00:00+00', '{"hour": 0, "weight": 3.5, "express": true, "congestion": 0.825, "shop_hours_3d": 13.464722222222225, "shop_parcels_3d": 62, "depot_parcels_1d": 81}', 10.634101675400574, '2026-11-27 20:32:58.053593+00'),
	('parcels', 1, '93e0004f122e44fabf08c71effcf7122', 0, '20260109-060', '2026-01-09 06:22:11+00', '2026-01-09 00:00:00+00', '{"hour": 6, "weight": 2.13, "express": true, "congestion": 0.561, "shop_hours_3d": 15.230999999999998, "shop_parcels_3d": 47, "depot_parcels_1d": 79}', 11.471555404974879, '2026-11-27 20:32:58.079853+00'),
	('parcels', 1, '800c391a035c4793a6eed5146ca69dce', 0, '20260109-120', '2026-01-09 12:56:41+00', '2026-01-09 00:00:00+00', '{"hour": 12, "weight": 5.65, "express": false, "congestion": 0.064, "shop_hours_3d": 9.7403125, "shop_parcels_3d": 49, "depot_parcels_1d": 79}', 9.811684572896235, '2026-11-27 20:32:58.105666+00'),
	('parcels', 1, '0137f4376b9840c18bec0a97150b1fd7', 0, '20260109-180', '2026-01-09 18:06:02+00', '2026-01-09 00:00:00+00', '{"hour": 18, "weight": 2.8, "express": false, "congestion": 0.454, "shop_hours_3d": 9.7403125, "shop_parcels_3d": 49, "depot_parcels_1d": 81}', 10.6687950123025, '2026-11-27 20:32:58.131378+00'),
	('parcels', 2, '80c0edef59fa453590f21966823cc47d', 0, '20260110-003', '2026-01-10 00:36:03+00', '2026-01-10 00:00:00+00', '{"hour": 0, "weight": 8.91, "express": false, "congestion": 0.64, "shop_hours_3d": 11.920000000000003, "shop_parcels_3d": 49, "depot_parcels_1d": 76}', 15.2302925304031, '2026-11-27 20:33:06.470242+00');

INSERT INTO public.versions VALUES
	('parcels', 1, '2026-11-27 20:32:50.976836+00', '28847994fc454e5bb97c9bb7be95db44', 'c3b63ce61b5fb8e4', '2026-01-08 00:00:00+00'),
	('parcels', 2, '2026-11-27 20:33:03.112437+00', 'c706808c81ae4e33a8716c31eb06a940', '218f258a319beb16', '2026-01-10 00:00:00+00');

ALTER TABLE ONLY public.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (model, key);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.candidates
    ADD CONSTRAINT candidates_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.partitions
    ADD CONSTRAINT partitions_pkey PRIMARY KEY (model, layer, name, partition);

ALTER TABLE ONLY public.predictions
    ADD CONSTRAINT predictions_pkey PRIMARY KEY (request_id, "position");

ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (model, number);

CREATE INDEX answers_by_age ON public.answers USING btree (at);

CREATE INDEX predictions_of_a_window ON public.predictions USING btree (model, as_of);
